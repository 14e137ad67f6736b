"""ChunkReader: rows of a sealed store's array, and proof that they are the right ones.

A few rows of a chunk cost the blocks of blosc that hold them; who comes back to the chunk has it
decompressed and kept. The checksum is over the whole chunk, and is always computed.

Shapes: F rows of a chunk, R rows asked for, J inner chunks of a shard.
"""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from storage.blosc_blocks import decompress_part, num_blocks
from storage.byte_cache import ByteCache
from storage.errors import StoreCorrupt
from storage.frame_map import Rows
from storage.manifest import Records
from storage.object_handles import ObjectHandles, ObjectReader
from storage.remote_folder import ByteRange, RemoteFolder, Root
from storage.remote_objects import RemoteObjects
from storage.shard_object import (
    ABSENT,
    CRC_BYTES,
    ENTRY,
    check_crc,
    decompress,
    index_bytes,
    most_compressed,
    read_index,
)
from storage.store_format import FrameArray

# Blosc's own threads do not live through a fork, and one core decompresses faster than disks read.
blosc.use_threads = False

MANY_BLOCKS = 3  # two are decompressed as fast as one is cut out
MAX_INDICES = 4096  # kept beside the chunks: 4 MiB with 64 chunks to a shard


class ChunkReader(threading.local):
    """Each thread has open files and a cache of its own, so that no lock is held in a fork."""

    def __init__(
        self,
        root: Root,
        records: Records,
        *,
        chunk_frames: int,
        chunks_per_shard: int,
        cache_bytes: int,
    ) -> None:
        self._root = root
        self._records = records
        self._chunk_frames = chunk_frames
        self._index_bytes = index_bytes(chunks_per_shard)
        self._objects = _object_reader(root, records)
        self._cache = ByteCache(cache_bytes)
        self._indices: dict[str, bytes] = {}

    def rows(
        self, array: FrameArray, *, shard: int, start: int, stop: int
    ) -> Iterator[NDArray[np.uint8]]:
        """Rows [start, stop) of a shard, bytes (R, row bytes), chunk by chunk. Not to be changed.

        Raises:
            StoreCorrupt: when bytes are missing, differ, or belong to another place.
        """
        name, size, row_bytes = array.object_name(shard), self._chunk_frames, array.row_bytes
        for chunk in range(start // size, -(-stop // size)):
            before = chunk * size
            first, last = max(start - before, 0), min(stop - before, size)
            flat = self._part(array, name, chunk, first * row_bytes, last * row_bytes)
            yield flat.reshape(last - first, row_bytes)

    def expect(self, arrays: Sequence[FrameArray], places: Sequence[Rows]) -> None:
        """Have a server send together what `rows` will ask for: indices, then chunks.

        A disk needs no notice: the system reads ahead. Raises as `rows`.
        """
        if not isinstance(self._objects, RemoteObjects):
            return
        size = self._chunk_frames
        missing = [
            (array, array.object_name(place.shard), chunk)
            for array in arrays
            for place in places
            for chunk in range(place.start // size, -(-place.stop // size))
            if (array.object_name(place.shard), chunk) not in self._cache
        ]
        new = {name for _, name, _ in missing} - self._indices.keys()
        self._objects.expect([self._index_place(name) for name in new])
        self._objects.expect(
            [
                self._chunk_place(name, chunk, size * array.row_bytes)
                for array, name, chunk in missing
            ]
        )

    def forget(self) -> None:
        """What was expected has been read."""
        if isinstance(self._objects, RemoteObjects):
            self._objects.expect([])

    def _part(
        self, array: FrameArray, name: str, chunk: int, start: int, stop: int
    ) -> NDArray[np.uint8]:
        """The decompressed bytes [start, stop) of a chunk."""
        codec, num_bytes = array.codec, self._chunk_frames * array.row_bytes
        key = (name, chunk)
        held = self._cache.get(key)
        if isinstance(held, np.ndarray):
            return held[start:stop]
        body = held if held is not None else self._body(name, chunk, num_bytes)
        where = f"{self._root}/{name}, chunk {chunk}"
        seldom = held is None and 2 * (stop - start) < num_bytes
        if seldom and codec == "blosc" and num_blocks(body, num_bytes=num_bytes) >= MANY_BLOCKS:
            self._cache.put(key, body)
            return _decompress_part(body, start, stop, where=where)
        flat = decompress(body, codec, num_bytes=num_bytes, where=where)
        if stop - start < num_bytes:
            self._cache.put(key, flat)
        return flat[start:stop]

    def _body(self, name: str, chunk: int, num_bytes: int) -> bytes:
        """Compressed bytes of a chunk of `num_bytes`, which are those that were written."""
        place = self._chunk_place(name, chunk, num_bytes)
        raw = self._objects.read(name, place.stop - place.start, place.start)
        where = f"{self._root}/{name}, chunk {chunk}"
        body = check_crc(raw, where=where)
        if int.from_bytes(raw[-CRC_BYTES:], "little") != self._records[name].chunks[chunk]:
            raise StoreCorrupt(
                f"{where}: crc32c is not the manifest's: this object belongs to another place "
                "or another store"
            )
        return body

    def _chunk_place(self, name: str, chunk: int, num_bytes: int) -> ByteRange:
        """Where a chunk of `num_bytes` lies."""
        index = self._index_of(name)
        where = f"{self._root}/{name}, chunk {chunk}"
        if chunk >= len(self._records[name].chunks):
            raise StoreCorrupt(f"{self._root}: the manifest does not list chunk {chunk} of {name}")
        offset, size = ENTRY.unpack_from(index, ENTRY.size * chunk)
        if offset == ABSENT:
            raise StoreCorrupt(f"{where}: the chunk is missing")
        if size > most_compressed(num_bytes):
            raise StoreCorrupt(f"{where}: declares {size} bytes for {num_bytes}: not compressed")
        return ByteRange(name, offset, offset + size)

    def _index_of(self, name: str) -> bytes:
        """An object's index, checked."""
        held = self._indices.pop(name, None)
        if held is None:
            held = self._read_index(name)
        self._indices[name] = held  # the last one is the one used last
        if len(self._indices) > MAX_INDICES:
            del self._indices[next(iter(self._indices))]
        return held

    def _read_index(self, name: str) -> bytes:
        place = self._index_place(name)
        raw = self._objects.read(name, place.stop - place.start, place.start)
        read_index(raw, object_bytes=place.stop, where=f"{self._root}/{name}")
        return raw

    def _index_place(self, name: str) -> ByteRange:
        if name not in self._records:
            raise StoreCorrupt(f"{self._root}: the manifest does not list {name}")
        end = self._records[name].num_bytes
        if end < self._index_bytes:
            raise StoreCorrupt(f"{self._root}/{name}: the object is too small for its index")
        return ByteRange(name, end - self._index_bytes, end)


def _object_reader(root: Root, records: Records) -> ObjectReader:
    return RemoteObjects(root) if isinstance(root, RemoteFolder) else ObjectHandles(root, records)


def _decompress_part(body: bytes, start: int, stop: int, *, where: str) -> NDArray[np.uint8]:
    try:
        return decompress_part(body, start, stop)
    except (RuntimeError, ValueError) as cause:
        raise StoreCorrupt(f"{where}: cannot be decompressed ({cause})") from cause
