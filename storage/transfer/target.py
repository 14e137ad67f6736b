"""Target: a place that a store is copied into. Only copies are written by it, never new stores.

LocalTarget    a folder of this machine
RemoteTarget   a folder behind a URL, through fsspec
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from storage.format.partial_copy import PartialCopy
from storage.format.records import ObjectRecord


class Target(Protocol):
    """A place that a store is copied into; `str` of it is its name in messages."""

    @property
    def is_careful(self) -> bool:
        """Are objects that are there already compared by their bytes, not by their size only?"""

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from copying into it meanwhile, if the target can do that."""

    def head(self) -> str | None:
        """The digest of the store that is there; None where there is none, or an unfinished one."""

    def part(self) -> PartialCopy | None:
        """What a partial copy holds; None where it is whole, or there is none."""

    def refuse_others(self, digest: str) -> None:
        """Make sure that what is there is this store, its unfinished copy, or nothing.

        Raises:
            StoreMismatch, StoreError: naming what is there.
        """

    def holds(self, name: str, record: ObjectRecord, *, careful: bool) -> bool:
        """Is the object there, of the right size, and with `careful` with the right bytes?"""

    def begin(self, part: PartialCopy, num_bytes: int) -> None:
        """Write down what this copy is going to be; `num_bytes` will be written."""

    def write(self, name: str, record: ObjectRecord, pieces: Iterable[bytes]) -> None:
        """Put an object in its place, if its bytes are right.

        Raises:
            StoreCorrupt: when they are not; nothing is left under its name.
        """

    def seal(self, digest: str, manifest: bytes, part: PartialCopy | None) -> None:
        """All objects are there: write the manifest, part.json for a partial copy, and HEAD."""
