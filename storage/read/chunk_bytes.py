"""ChunkBytes: the compressed bytes of a sealed store's inner chunks, compared with the manifest.

The crc32c of a chunk is computed on every read, and must be the one that the manifest lists for
this chunk of this object. So an object that was damaged, replaced, renamed or taken from another
store is found by the reader of its first bad chunk, even if index and checksums are consistent.

Shapes: J inner chunks of a shard.
"""

import shlex
from collections.abc import Iterable

import google_crc32c

from storage.errors import StoreCorrupt
from storage.format.records import Records
from storage.format.shard_object import (
    ABSENT,
    CRC_BYTES,
    ENTRY,
    check_crc,
    index_bytes,
    most_compressed,
    read_index,
)
from storage.place.byte_ranges import ByteRange
from storage.place.place import Place

MAX_INDICES = 4096  # 4 MiB with 64 chunks to a shard
# The crc32c of any bytes followed by their own crc32c is this constant, so that one pass over the
# chunk as stored shows whether it is sound.
SOUND = 0x48674BC7


class ChunkBytes:
    """Reads chunks by the name of their object and their number. For one thread.

    Indices are kept as the bytes that were read: an entry is unpacked when it is needed, since a
    random utterance needs one of the 32 of a shard.
    """

    def __init__(self, place: Place, records: Records, *, chunks_per_shard: int) -> None:
        self._records = records
        self._place = place
        self._index_bytes = index_bytes(chunks_per_shard)
        self._objects = place.open_objects(records)
        self._indices: dict[str, bytes] = {}

    def read(self, name: str, chunk: int, *, num_bytes: int) -> memoryview:
        """A chunk's bytes without their checksum; `num_bytes` is what it decompresses to.

        Raises:
            StoreCorrupt: when bytes are missing, differ, or belong to another place.
        """
        _, start, stop = self._chunk_range(name, chunk, num_bytes)
        raw = self._objects.read(name, stop - start, start)
        if google_crc32c.value(raw) != SOUND:
            # Raises, with both checksums.
            check_crc(raw, where=self.where(name, chunk), cure=self._cure)
        # A sound chunk may still be another one: that of another shard, or of another store.
        if int.from_bytes(raw[-CRC_BYTES:], "little") != self._records[name].chunks[chunk]:
            raise StoreCorrupt(
                f"{self.where(name, chunk)}: crc32c is not the manifest's: this object belongs to "
                f"another place or another store: {self._cure}"
            )
        return memoryview(raw)[:-CRC_BYTES]

    @property
    def _cure(self) -> str:
        if self._place.folder is None:
            return "check the store where it lies, and copy it there again"
        path = shlex.quote(str(self._place.folder))
        return f"run 'essence cache repair {path}', which removes damaged shards only"

    def where(self, name: str, chunk: int) -> str:
        """A chunk's name in messages."""
        return f"{self._place.where(name)}, chunk {chunk}"

    def expect(self, wanted: Iterable[tuple[str, int, int]]) -> None:
        """Request chunks (name, chunk, num_bytes) of a server together. Raises as `read`.

        Two round trips: where a chunk lies is in its object's index, which comes first.
        """
        chunks = list(wanted)
        new = {name for name, _, _ in chunks} - self._indices.keys()
        self._objects.expect([self._index_range(name) for name in new])
        self._objects.expect([self._chunk_range(*chunk) for chunk in chunks])

    def _chunk_range(self, name: str, chunk: int, num_bytes: int) -> ByteRange:
        index = self._indices.get(name) or self._read_index(name)
        if chunk >= len(self._records[name].chunks):
            raise StoreCorrupt(f"{self._place}: the manifest does not list chunk {chunk} of {name}")
        offset, size = ENTRY.unpack_from(index, ENTRY.size * chunk)
        if offset == ABSENT:
            raise StoreCorrupt(f"{self.where(name, chunk)}: the chunk is missing")
        # The index is not to be trusted before the chunk is compared: it could ask for 8 GiB here.
        if size > most_compressed(num_bytes):
            raise StoreCorrupt(
                f"{self.where(name, chunk)}: declares {size} bytes for {num_bytes}: not compressed"
            )
        return ByteRange(name, offset, offset + size)

    def _read_index(self, name: str) -> bytes:
        """An object's index, checked and kept; the oldest one is dropped."""
        _, start, stop = self._index_range(name)
        raw = self._objects.read(name, stop - start, start)
        where = self._place.where(name)
        read_index(raw, object_bytes=stop, where=where, cure=self._cure)
        self._indices[name] = raw
        if len(self._indices) > MAX_INDICES:
            del self._indices[next(iter(self._indices))]
        return raw

    def _index_range(self, name: str) -> ByteRange:
        if name not in self._records:
            raise StoreCorrupt(f"{self._place}: the manifest does not list {name}")
        end = self._records[name].num_bytes
        if end < self._index_bytes:
            raise StoreCorrupt(f"{self._place.where(name)}: the object is too small for its index")
        return ByteRange(name, end - self._index_bytes, end)
