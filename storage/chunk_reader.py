"""ChunkReader: rows of a sealed store's array, and proof that they are the right ones.

A few rows of a chunk cost the blocks of blosc that hold them; who comes back to the chunk has it
decompressed and kept. The checksum is over the whole chunk, and is always computed.

Shapes: F rows of a chunk, R rows asked for, J inner chunks of a shard.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from storage.blosc_blocks import decompress_part, num_blocks
from storage.byte_cache import ByteCache
from storage.errors import StoreCorrupt
from storage.manifest import Records
from storage.object_handles import ObjectHandles
from storage.shard_object import (
    ABSENT,
    CRC_BYTES,
    check_crc,
    decompress,
    index_bytes,
    most_compressed,
    read_index,
)
from storage.store_format import FrameArray

# Blosc's own threads do not live through a fork, and one core decompresses faster than disks read.
blosc.use_threads = False

INDEX_CACHE_BYTES = 1 << 20  # beside the chunks: a thousand shards of 64 chunks


class ChunkReader(threading.local):
    """Each thread has open files and a cache of its own, so that no lock is held in a fork."""

    def __init__(
        self,
        root: Path,
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
        self._handles = ObjectHandles(root, records)
        self._cache = ByteCache(cache_bytes)
        self._indices = ByteCache(INDEX_CACHE_BYTES)

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
        if seldom and codec == "blosc" and num_blocks(body, num_bytes=num_bytes) > 1:
            self._cache.put(key, body)
            return _decompress_part(body, start, stop, where=where)
        flat = decompress(body, codec, num_bytes=num_bytes, where=where)
        if stop - start < num_bytes:
            self._cache.put(key, flat)
        return flat[start:stop]

    def _body(self, name: str, chunk: int, num_bytes: int) -> bytes:
        """Compressed bytes of a chunk of `num_bytes`, which are those that were written."""
        where = f"{self._root}/{name}, chunk {chunk}"
        if name not in self._records or chunk >= len(self._records[name].chunks):
            raise StoreCorrupt(f"{self._root}: the manifest does not list chunk {chunk} of {name}")
        offset, size = self._index(name)[chunk].tolist()
        if offset == ABSENT:
            raise StoreCorrupt(f"{where}: the chunk is missing")
        if size > most_compressed(num_bytes):
            raise StoreCorrupt(f"{where}: declares {size} bytes for {num_bytes}: not compressed")
        raw = self._handles.read(name, size, offset)
        body = check_crc(raw, where=where)
        if int.from_bytes(raw[-CRC_BYTES:], "little") != self._records[name].chunks[chunk]:
            raise StoreCorrupt(
                f"{where}: crc32c is not the manifest's: this object belongs to another place "
                "or another store"
            )
        return body

    def _index(self, name: str) -> NDArray[Any]:
        held = self._indices.get(name)
        if isinstance(held, np.ndarray):
            return held
        object_bytes = self._records[name].num_bytes
        if object_bytes < self._index_bytes:
            raise StoreCorrupt(f"{self._root}/{name}: the object is too small for its index")
        raw = self._handles.read(name, self._index_bytes, object_bytes - self._index_bytes)
        entries_J2 = read_index(raw, object_bytes=object_bytes, where=f"{self._root}/{name}")
        self._indices.put(name, entries_J2)
        return entries_J2


def _decompress_part(body: bytes, start: int, stop: int, *, where: str) -> NDArray[np.uint8]:
    try:
        return decompress_part(body, start, stop)
    except (RuntimeError, ValueError) as cause:
        raise StoreCorrupt(f"{where}: cannot be decompressed ({cause})") from cause
