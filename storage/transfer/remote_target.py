"""RemoteTarget: a folder behind a URL that a store is copied into, through fsspec.

Object stores show an object only when it is complete. Elsewhere (ssh) it waits below _stage/ and
is renamed. What was sent is compared by size, or read back where that is asked for.
"""

import hashlib
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from storage.contents.manifest import read_head
from storage.contents.part import read_part
from storage.errors import StoreCorrupt, StoreError, StoreMismatch, StoreUnreachable
from storage.files.fingerprint import SHORT
from storage.format.partial_copy import PART, UNFINISHED, PartialCopy, encode_part
from storage.format.records import HEAD, STAGE, ObjectRecord, manifest_name
from storage.place.connection import connect, forget
from storage.place.find_place import find_place
from storage.place.outage import Outage, described

APPEARS_WHOLE = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"}
T = TypeVar("T")


class RemoteTarget:
    """A folder behind a URL. See `Target`. With `check`, what was sent is read back."""

    def __init__(self, url: str, *, check: bool) -> None:
        self._url = url
        self._place = find_place(url)
        self.is_careful = check
        self._appears_whole = urlsplit(url).scheme in APPEARS_WHOLE
        self._links = threading.local()  # each thread's connection
        self._sizes_there: dict[str, int] | None = None

    def __str__(self) -> str:
        return str(self._place)

    def locked(self) -> AbstractContextManager[None]:
        """See `Target`. A server has no locks."""
        return nullcontext()

    def head(self) -> str | None:
        """The digest of the store that is there."""
        return read_head(self._place) if HEAD in self._sizes() else None

    def part(self) -> PartialCopy | None:
        """What a partial copy holds, which was put there by other means."""
        return self._read_part(PART)

    def refuse_others(self, digest: str) -> None:
        """See `Target`."""
        begun = self._read_part(UNFINISHED)
        found = self.head() or (begun.digest if begun else None)
        if found not in (None, digest):
            raise StoreMismatch(
                f"{self} holds another store: found {found[:SHORT]}, wanted "
                f"{digest[:SHORT]}: name another place, or remove this one"
            )
        if found is None and not self._is_hardly_begun():
            raise StoreError(
                f"{self} holds files and is no copy that was begun: name a new place, such as "
                ".../train.zarr"
            )

    def _is_hardly_begun(self) -> bool:
        """Is nothing there, or what a transfer leaves that is killed before its first rename?"""
        return all(name.startswith(_staged(UNFINISHED)) for name in self._sizes())

    def holds(self, name: str, record: ObjectRecord, *, careful: bool) -> bool:
        """See `Target`."""
        if self._sizes().get(name) != record.num_bytes:
            return False
        return not careful or self._digest(name, record) == record.sha256

    def begin(self, part: PartialCopy, num_bytes: int) -> None:
        """See `Target`. How much room there is cannot be asked."""
        self._put_bytes(UNFINISHED, encode_part(part))

    def write(self, name: str, record: ObjectRecord, pieces: Iterable[bytes]) -> None:
        """See `Target`. The object is whole and compared here before it is sent."""
        with tempfile.NamedTemporaryFile(prefix="essence-") as file:
            digest = hashlib.sha256()
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
            if digest.hexdigest() != record.sha256:
                raise StoreCorrupt(
                    f"{name}: these are not the bytes of the manifest: their sha256 differs"
                )
            file.flush()
            self._send(name, file, num_bytes=record.num_bytes, sha256=record.sha256)
        if self.is_careful and self._digest(name, record) != record.sha256:
            raise StoreCorrupt(f"{self._place.where(name)}: other bytes are there than were sent")

    def seal(self, digest: str, manifest: bytes, part: PartialCopy | None) -> None:
        """See `Target`."""
        name = manifest_name(digest)
        if self._sizes().get(name) != len(manifest):
            self._put_bytes(name, manifest)
        if part is not None:
            self._put_bytes(PART, encode_part(part))
        elif PART in self._sizes():
            self._patiently(PART, lambda system, place: system.rm_file(f"{place}/{PART}"))
        if HEAD not in self._sizes():
            self._put_bytes(HEAD, f"{digest}\n".encode())
        with suppress(Exception):  # what is left there is ignored by readers
            system, place = self._link()
            system.rm(f"{place}/{STAGE}", recursive=True)

    def _put_bytes(self, name: str, content: bytes) -> None:
        with tempfile.NamedTemporaryFile(prefix="essence-") as file:
            file.write(content)
            file.flush()
            sha256 = hashlib.sha256(content).hexdigest()
            self._send(name, file, num_bytes=len(content), sha256=sha256)

    def _send(self, name: str, file: IO[bytes], *, num_bytes: int, sha256: str) -> None:
        staged = _staged(name) + sha256

        def send(system: Any, place: str) -> None:
            first = name if self._appears_whole else staged
            system.put_file(file.name, f"{place}/{first}")
            found = system.info(f"{place}/{first}")["size"]
            if found != num_bytes:
                raise StoreCorrupt(
                    f"{self._place.where(name)}: {found} bytes are there, {num_bytes} were sent"
                )
            if first != name:
                system.makedirs(str(Path(f"{place}/{name}").parent), exist_ok=True)
                system.mv(f"{place}/{staged}", f"{place}/{name}")

        self._patiently(name, send)

    def _patiently(self, name: str, act: Callable[[Any, str], T]) -> T:
        """Do it, and again after errors that may pass.

        Raises:
            StoreUnreachable: when it cannot be done.
        """
        outage = Outage(self._url)
        while True:
            try:
                done = act(*self._link())
            except FileNotFoundError:
                raise
            except Exception as cause:  # every backend of fsspec has its own errors
                if outage.wait(cause):
                    if forget(self._url):
                        self._links = threading.local()
                    continue
                if isinstance(cause, StoreError):
                    raise
                raise StoreUnreachable(
                    f"{self._place.where(name)} cannot be written ({described(cause)}): may you "
                    "write there, and is there room? The same command goes on"
                ) from cause
            outage.answered()
            return done

    def _link(self) -> tuple[Any, str]:
        if not hasattr(self._links, "connection"):
            self._links.connection = connect(self._url, shown=str(self))
        connection: tuple[Any, str] = self._links.connection
        return connection

    def _sizes(self) -> dict[str, int]:
        """Size of everything that is there when it is first asked, by name."""
        if self._sizes_there is None:
            try:
                self._sizes_there = self._patiently("", self._list)
            except FileNotFoundError:
                self._sizes_there = {}
        return self._sizes_there

    def _list(self, system: Any, place: str) -> dict[str, int]:
        system.invalidate_cache()
        if not system.exists(place):
            return {}
        found = system.find(place, detail=True)
        start = place.strip("/") + "/"
        names = {path.strip("/").removeprefix(start): path for path in found}
        return {name: int(found[path]["size"]) for name, path in names.items()}

    def _read_part(self, name: str) -> PartialCopy | None:
        if name not in self._sizes():
            return None
        return read_part(self._place, name)

    def _digest(self, name: str, record: ObjectRecord) -> str:
        """Of what is there; empty where it is of another size."""
        digest = hashlib.sha256()
        try:
            for piece in self._place.pieces(name, record.num_bytes):
                digest.update(piece)
        except StoreCorrupt:
            return ""
        return digest.hexdigest()


def _staged(name: str) -> str:
    """Where an object waits for its rename, without the digest at the end."""
    return f"{STAGE}/{name.replace('/', '.')}."
