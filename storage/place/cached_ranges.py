"""CachedRanges: byte ranges of a store behind a URL, each object fetched once, whole, and kept.

The manifest gives each object's digest, under which the cache on disk keeps it: what is there is
valid for good, whatever store asks for it. Only HEAD can change, and is requested each time; if
the server is away, the HEAD last seen there counts.
"""

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.errors import StoreCorrupt, StoreUnreachable
from storage.files.object_file import MAX_OBJECT_BYTES
from storage.format.records import (
    DIGEST,
    HEAD,
    ObjectRecord,
    Records,
    decode_records,
    manifest_name,
)
from storage.place.byte_ranges import ByteRange, group_by_size
from storage.place.object_cache import ObjectCache
from storage.place.remote_ranges import RemoteRanges

MAX_OPEN = 32  # objects that stay readable even if the cache drops them meanwhile


class CachedRanges(threading.local):
    """See `Ranges`. Each thread has its own open files; all threads share `known`.

    `known` are the records of the manifests that were read: only these objects can be cached,
    since only of them the right digest is known.
    """

    def __init__(self, url: str, cache: ObjectCache, known: Records) -> None:
        self._open: OrderedDict[str, int] = OrderedDict()  # before a URL is refused: see __del__
        self._server = RemoteRanges(url)
        self.name = self._server.name
        self._cache = cache
        self._known = known

    def __reduce__(self) -> tuple[Any, ...]:
        return cached_ranges, (self._server.url, self._cache.folder, self._cache.max_bytes)

    def __del__(self) -> None:
        for handle in self._open.values():
            with suppress(OSError):
                os.close(handle)

    def below(self, name: str) -> "CachedRanges":
        """See `Ranges`."""
        return CachedRanges(f"{self._server.url}/{name}", self._cache, {})

    def find_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes | None]:
        """The server's, not the cache's; the last HEAD seen if the server is away."""
        url = self._server.url
        try:
            given = self._server.find_ranges(wanted)
        except StoreUnreachable:
            remembered = self._cache.remembered_head(url)
            if [asked.name for asked in wanted] != [HEAD] or remembered is None:
                raise
            return [f"{remembered}\n".encode()]
        for asked, raw in zip(wanted, given, strict=True):
            text = (raw or b"").decode("ascii", errors="replace")
            if asked.name == HEAD and DIGEST.fullmatch(text.removesuffix("\n")):
                self._cache.remember_head(url, text.removesuffix("\n"))
        return given

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """From the cache, into which missing objects are fetched before."""
        self._fetch({at.name: self._known[at.name] for at in wanted if self._is_kept(at.name)})
        given: dict[ByteRange, bytes] = {}
        for at in wanted:
            if (digest := _digest_of_manifest(at.name)) is not None:
                given[at] = self._manifest(digest)[at.start : at.stop]
                continue
            handle = self._handle(at.name) if self._is_kept(at.name) else None
            if handle is not None:
                given[at] = os.pread(handle, at.stop - at.start, at.start)
        # An object that is larger than the cache, or not of a known manifest.
        rest = [at for at in dict.fromkeys(wanted) if at not in given]
        given |= dict(zip(rest, self._server.read_ranges(rest), strict=True)) if rest else {}
        return [given[at] for at in wanted]

    def _manifest(self, digest: str) -> bytes:
        """A manifest's content must have the digest of its name. Then its objects are known."""
        content = self._kept_manifest(digest)
        if content is None:
            name = manifest_name(digest)
            whole = ByteRange(name, 0, MAX_OBJECT_BYTES + 1)
            content = self._server.read_ranges([whole])[0]
            if hashlib.sha256(content).hexdigest() != digest:
                return content  # the reader of the manifest raises the error
            self._cache.put(digest, content)
        self._known.update(decode_records(content, where=f"{self.name}/{manifest_name(digest)}"))
        return content

    def _kept_manifest(self, digest: str) -> bytes | None:
        with suppress(OSError):
            content = (self._cache.folder / digest).read_bytes()
            return content if hashlib.sha256(content).hexdigest() == digest else None
        return None

    def _is_kept(self, name: str) -> bool:
        """Is it an object that is fetched whole?"""
        record = self._known.get(name)
        most = min(self._cache.max_bytes, MAX_OBJECT_BYTES)
        return record is not None and record.num_bytes <= most

    def _fetch(self, records: Records) -> None:
        """Have these objects in the cache.

        Raises:
            StoreCorrupt: when the server returns other bytes than the manifest lists.
            StoreUnreachable: when it does not let us read.
        """
        # Objects with the same content are kept, and fetched, once.
        names = {r.sha256: n for n, r in records.items() if self._handle(n) is None}
        for group in group_by_size({name: records[name].num_bytes for name in names.values()}):
            with self._cache.claimed(records[name].sha256 for name in group):
                # Another process may have fetched them while this one waited for the lock.
                still = {name: records[name] for name in group if self._handle(name) is None}
                whole = [ByteRange(n, 0, record.num_bytes + 1) for n, record in still.items()]
                contents = self._server.read_ranges(whole) if whole else []
                for (name, record), content in zip(still.items(), contents, strict=True):
                    self._keep(name, record, content)

    def _keep(self, name: str, record: ObjectRecord, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != record.sha256:
            raise StoreCorrupt(
                f"{self.name}/{name}: sha256 differs from the manifest's: bytes have changed"
            )
        self._cache.put(record.sha256, content)
        self._handle(name)

    def _handle(self, name: str) -> int | None:
        """An open object of the cache; None if it is not there. An open file stays readable."""
        record = self._known[name]
        handle = self._open.pop(record.sha256, None)
        if handle is None:
            handle = self._cache.open(record.sha256, record.num_bytes)
        if handle is None:
            return None
        self._open[record.sha256] = handle
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return handle


def cached_ranges(url: str, folder: Path, max_bytes: int) -> CachedRanges:
    """Ranges behind `url`, of which at most `max_bytes` are kept in `folder`."""
    return CachedRanges(url, ObjectCache(folder, max_bytes=max_bytes), {})


def _digest_of_manifest(name: str) -> str | None:
    digest = name.removeprefix("manifest-").removesuffix(".json")
    return digest if DIGEST.fullmatch(digest) and name == manifest_name(digest) else None
