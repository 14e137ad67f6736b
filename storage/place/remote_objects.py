"""RemoteObjects: the objects of a store on a server, for the reader of chunks.

What a read needs is requested together, neighbours in one request, and kept until the next read:
a round trip takes longer than the bytes.
"""

from collections.abc import Callable, Iterable, Sequence

from storage.errors import StoreCorrupt
from storage.place.byte_ranges import ByteRange, hull, join_neighbours


class RemoteObjects:
    """An `ObjectReader` over `read_ranges` of a place whose name is `where`."""

    def __init__(
        self, read_ranges: Callable[[Sequence[ByteRange]], list[bytes]], *, where: str
    ) -> None:
        self._read_ranges = read_ranges
        self._where = where
        self._held: dict[ByteRange, bytes] = {}

    def expect(self, wanted: Iterable[ByteRange]) -> None:
        """See `ObjectReader`."""
        self._held.clear()
        runs = list(join_neighbours(wanted))
        answers = self._read_ranges([hull(run) for run in runs]) if runs else []
        for run, raw in zip(runs, answers, strict=True):
            before = run[0].start
            for place in run:
                self._held[place] = raw[place.start - before : place.stop - before]

    def read(self, name: str, num_bytes: int, offset: int) -> bytes:
        """See `ObjectReader`."""
        place = ByteRange(name, offset, offset + num_bytes)
        raw = self._held.get(place)
        if raw is None:
            raw = self._read_ranges([place])[0]
        if len(raw) != num_bytes:
            raise StoreCorrupt(
                f"{self._where}/{name} ends at byte {offset + len(raw)}, wanted are those up to "
                f"{place.stop}"
            )
        return raw
