"""RemoteObjects: the objects of a store on a server, for a reader of chunks.

What a read wants is asked for together, neighbours in one request, and kept until the next read.
"""

from collections.abc import Iterable

from storage.errors import StoreCorrupt
from storage.place.byte_ranges import ByteRange, hull, join_neighbours
from storage.place.remote_folder import RemoteFolder


class RemoteObjects:
    """As `ObjectReader` (storage/place/object_handles.py). Bytes are no surer than the server's."""

    def __init__(self, folder: RemoteFolder) -> None:
        self._folder = folder
        self._held: dict[ByteRange, bytes] = {}

    def expect(self, wanted: Iterable[ByteRange]) -> None:
        """Ask at once for what is going to be read; what was expected before is forgotten.

        Raises:
            StoreCorrupt: when an object is missing.
            StoreUnreachable: when the server does not let us read.
        """
        self._held.clear()
        runs = list(join_neighbours(wanted))
        answers = self._folder.read_ranges([hull(run) for run in runs]) if runs else []
        for run, raw in zip(runs, answers, strict=True):
            before = run[0].start
            for place in run:
                self._held[place] = raw[place.start - before : place.stop - before]

    def read(self, name: str, num_bytes: int, offset: int) -> bytes:
        """Bytes [offset, offset + num_bytes) of an object.

        Raises:
            StoreCorrupt: when it is missing, or ends before.
            StoreUnreachable: when the server does not let us read.
        """
        place = ByteRange(name, offset, offset + num_bytes)
        raw = self._held.get(place)
        if raw is None:
            raw = self._folder.read_ranges([place])[0]
        if len(raw) != num_bytes:
            raise StoreCorrupt(
                f"{self._folder / name} ends at byte {offset + len(raw)}, wanted are those up to "
                f"{place.stop}"
            )
        return raw
