"""ObjectCache: objects of stores in a folder of bounded size, under the names of their digests.

    <folder>/<sha256>             an object, verified when it was fetched
    <folder>/heads/<sha256>       the digest last seen at a URL (the name is the URL's sha256)
    <folder>/lock, stripe-<n>     locks, which end with their process

The least recently used object is dropped first. Any number of processes may share the folder. A
process that is stopped at any instruction leaves a sound cache, and leftovers that the next one
removes. The system's clock decides what is dropped first, and nothing else.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from storage.files.fingerprint import handle_digest
from storage.files.leftovers import is_leftover, remove_leftovers, unfinished
from storage.files.object_file import PLAIN
from storage.files.publish import publish_file, write_and_sync

NUM_STRIPES = 64


class ObjectCache:
    """`max_bytes` of objects in `folder`. An object that is larger is not kept."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        # Objects that this process has verified: hashing them at every open would cost more than
        # reading. What damages them later is found by the checksums of chunks.
        self._seen: set[str] = set()

    def open(self, sha256: str, num_bytes: int) -> int | None:
        """A descriptor of an object, to read from; None if it is not here, or was damaged."""
        path = self.folder / sha256
        try:
            handle = os.open(path, PLAIN)
        except OSError:
            return None
        try:
            found = os.fstat(handle).st_size == num_bytes
            if found and (sha256 in self._seen or handle_digest(handle) == sha256):
                self._seen.add(sha256)
                os.utime(handle)
                return handle
        except OSError:  # a bad disk: the object is fetched again
            pass
        os.close(handle)
        self._seen.discard(sha256)
        path.unlink(missing_ok=True)
        return None

    def put(self, sha256: str, content: bytes) -> None:
        """Keep an object that was verified, and drop the least recently used ones."""
        if len(content) > self.max_bytes:
            return
        with self._locked("lock"):
            self._make_room(len(content))
            partial = unfinished(self.folder / sha256)
            write_and_sync(partial, content)
            os.replace(partial, self.folder / sha256)

    @contextmanager
    def claimed(self, digests: Iterable[str]) -> Iterator[None]:
        """Keep other processes from fetching these objects meanwhile: they find them here then."""
        stripes = {int(digest[:8], 16) % NUM_STRIPES for digest in digests}
        with ExitStack() as stack:
            for stripe in sorted(stripes):  # the same order in all processes: no deadlock
                stack.enter_context(self._locked(f"stripe-{stripe:02d}"))
            yield

    def remember_head(self, url: str, digest: str) -> None:
        """Keep the digest of the store that was last seen at a URL."""
        place = self._head_place(url)
        if self.remembered_head(url) != digest:
            place.parent.mkdir(parents=True, exist_ok=True)
            with self._locked("lock"):
                remove_leftovers(place.parent)
                publish_file(place, f"{digest}\n".encode())

    def remembered_head(self, url: str) -> str | None:
        """The digest last seen at a URL; None if there is none."""
        with suppress(OSError, UnicodeDecodeError):
            return self._head_place(url).read_text("ascii").strip()
        return None

    def _head_place(self, url: str) -> Path:
        return self.folder / "heads" / hashlib.sha256(url.encode()).hexdigest()

    def _make_room(self, num_bytes: int) -> None:
        """Drop the oldest objects, and partial files: under the lock, their process has ended."""
        held = []
        for entry in os.scandir(self.folder):
            if is_leftover(entry.name):
                Path(entry.path).unlink(missing_ok=True)
            elif len(entry.name) == hashlib.sha256().digest_size * 2:
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    held.append((found.st_mtime_ns, found.st_size, entry.path))
        total = sum(size for _, size, _ in held)
        for _, size, path in sorted(held):
            if total + num_bytes <= self.max_bytes:
                break
            Path(path).unlink(missing_ok=True)
            total -= size

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
