"""Place: where a store lies, as the rest of storage/ uses it: objects by name, and capabilities.

LocalFolder    a folder of this machine
RemoteFolder   a folder behind a URL, read through fsspec; with CachedRanges its objects are kept
               in a cache on disk

A place returns bytes as they lie there and promises nothing about them: the caller compares them
with the records. Only reading is defined here. Stores are written by storage/write/ into local
folders, and copied by storage/transfer/ to a `Target`.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from storage.format.records import Records
from storage.place.byte_ranges import ByteRange


class ObjectReader(Protocol):
    """Bytes of objects at any offset, for the reader of chunks. For one thread."""

    def read(self, name: str, num_bytes: int, offset: int) -> bytes:
        """Bytes [offset, offset + num_bytes) of an object, all of them.

        Raises:
            StoreCorrupt: when it is missing, or ends before.
            StoreUnreachable: when the system or the server does not let us read.
        """

    def expect(self, wanted: Iterable[ByteRange]) -> None:
        """Request together what is going to be read. What was expected before is dropped.

        Raises as `read`.
        """


class Place(Protocol):
    """A folder of objects. `str` of it is its name in messages: a path, or a URL without password.

    Methods raise StoreCorrupt if an object is not as it should be, and StoreUnreachable if the
    system or the server does not let us read.
    """

    @property
    def address(self) -> str:
        """What finds the place again from any working directory. Holds no password."""

    @property
    def folder(self) -> Path | None:
        """The folder of this machine, which programs may write into; None on a server."""

    @property
    def is_remote(self) -> bool:
        """Does each request cost a round trip? Then readers gather what they need."""

    @property
    def can_list(self) -> bool:
        """Do `entries` and `sizes` work? HTTP, for one, has no lists."""

    @property
    def may_be_incomplete(self) -> bool:
        """May it hold a partial copy, or a store under construction?

        Elsewhere a store is sealed and whole, so that opening it asks for neither.
        """

    def where(self, name: str) -> str:
        """An object's name in messages."""

    def below(self, name: str) -> "Place":
        """The place of this name in this place."""

    def peek(self, name: str, num_bytes: int) -> bytes | None:
        """The first `num_bytes` bytes of an object, fewer if it ends before; None if absent."""

    def read_whole(self, sizes: Mapping[str, int | None]) -> Iterator[bytes]:
        """All bytes of small objects, one after the other; of exactly this size if one is given.

        Raises:
            StoreCorrupt: when one is missing, of another size, or larger than a small object is.
        """

    def pieces(self, name: str, num_bytes: int) -> Iterator[bytes]:
        """All bytes of an object of any size, in order. Raises StoreCorrupt on another size."""

    def check(self, records: Records, *, data: bool) -> Iterator[tuple[str, str | None]]:
        """(name, what is wrong or None) of each object: its size, and with `data` its sha256."""

    def open_objects(self, records: Records) -> ObjectReader:
        """A reader of these objects."""

    def entries(self, folder: str = "") -> set[str]:
        """Names of the files and folders in one folder; none if it is not there.

        Raises:
            StoreError: when the place itself is no folder, or cannot be listed.
        """

    def sizes(self) -> dict[str, int]:
        """Name -> bytes of all files below, without those in _stage/; -1 if it is no plain file.

        Raises:
            StoreError: when the place cannot be listed.
        """
