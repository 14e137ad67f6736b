"""RemoteFolder: a place behind a URL. See `Place`.

It keeps no list of names and requests no sizes: both are in the manifest. What is needed together
is requested together: that costs one round trip, not one for each object.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from storage.errors import StoreCorrupt, StoreError
from storage.files.object_file import MAX_OBJECT_BYTES
from storage.format.records import Records
from storage.place.byte_ranges import PIECE_BYTES, ByteRange, group_by_size
from storage.place.remote_check import RemoteCheck
from storage.place.remote_objects import RemoteObjects
from storage.place.remote_ranges import Ranges


@dataclass(frozen=True, slots=True)
class RemoteFolder:
    """A folder on a server, or its copy in a cache. A server has sealed, whole stores only."""

    ranges: Ranges
    folder: ClassVar[None] = None
    is_remote: ClassVar[bool] = True
    can_list: ClassVar[bool] = False
    may_be_incomplete: ClassVar[bool] = False

    def __str__(self) -> str:
        return self.ranges.name

    @property
    def address(self) -> str:
        """The URL, without a password."""
        return self.ranges.name

    def where(self, name: str) -> str:
        """See `Place`."""
        return f"{self}/{name}"

    def below(self, name: str) -> "RemoteFolder":
        """See `Place`."""
        return RemoteFolder(self.ranges.below(name))

    def peek(self, name: str, num_bytes: int) -> bytes | None:
        """See `Place`."""
        raw = self.ranges.find_ranges([ByteRange(name, 0, num_bytes)])[0]
        return None if raw is None else raw[:num_bytes]

    def read_whole(self, sizes: Mapping[str, int | None]) -> Iterator[bytes]:
        """See `Place`."""
        most = {n: MAX_OBJECT_BYTES if size is None else size for n, size in sizes.items()}
        for name, size in most.items():
            if size > MAX_OBJECT_BYTES:
                raise StoreCorrupt(
                    f"{self.where(name)} is {size} bytes long, expected {MAX_OBJECT_BYTES} at most"
                )
        for group in group_by_size(most):
            # One byte more than there should be, to see that there is none.
            wanted = [ByteRange(name, 0, most[name] + 1) for name in group]
            for name, raw in zip(group, self.ranges.read_ranges(wanted), strict=True):
                self._refuse_other_size(name, raw, size=sizes[name], most=most[name])
                yield raw

    def _refuse_other_size(self, name: str, raw: bytes, *, size: int | None, most: int) -> None:
        if len(raw) > most or (size is not None and len(raw) != size):
            found = len(raw) if len(raw) <= most else f"more than {most}"
            raise StoreCorrupt(f"{self.where(name)} is {found} bytes long, expected {most}")

    def pieces(self, name: str, num_bytes: int) -> Iterator[bytes]:
        """See `Place`. The last request includes one byte more, which must not be there."""
        for start in range(0, max(num_bytes, 1), PIECE_BYTES):
            is_last = start + PIECE_BYTES >= num_bytes
            stop = num_bytes + 1 if is_last else start + PIECE_BYTES
            piece = self.ranges.read_ranges([ByteRange(name, start, stop)])[0]
            if len(piece) != min(stop, num_bytes) - start:
                is_longer = start + len(piece) > num_bytes
                found = f"more than {num_bytes}" if is_longer else f"at most {start + len(piece)}"
                raise StoreCorrupt(
                    f"{self.where(name)} is {found} bytes long, expected {num_bytes}"
                )
            yield piece

    def check(self, records: Records, *, data: bool) -> Iterator[tuple[str, str | None]]:
        """See `Place`."""
        check = RemoteCheck(self.ranges.find_ranges, str(self))
        return check.content(records) if data else check.sizes(records)

    def open_objects(self, records: Records) -> RemoteObjects:
        """See `Place`. Sizes are not requested: each chunk is compared with the manifest."""
        return RemoteObjects(self.ranges.read_ranges, where=str(self))

    def entries(self, folder: str = "") -> set[str]:
        """See `Place`: `can_list` is False."""
        raise StoreError(f"{self} is on a server, which is not listed: name a store there")

    def sizes(self) -> dict[str, int]:
        """See `Place`: `can_list` is False."""
        raise StoreError(f"{self} is on a server, which is not listed: name a store there")
