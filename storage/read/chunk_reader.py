"""ChunkReader: decompressed rows of a sealed store's arrays.

The first read of a few rows of a chunk decompresses only the blosc blocks that hold them, and
keeps the compressed chunk. The second read of the chunk decompresses and keeps all of it: reads
that come back pay once, random reads never pay for rows that they do not need.

Shapes: F rows of a chunk.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from storage.contents.frame_map import Rows
from storage.errors import StoreCorrupt
from storage.format.layout import FrameArray
from storage.format.records import Records
from storage.format.shard_object import Buffer, decompress
from storage.place.place import Place
from storage.read.blosc_blocks import decompress_part, num_blocks
from storage.read.byte_cache import ByteCache
from storage.read.chunk_bytes import ChunkBytes

# Blosc's own threads do not survive a fork: the child would wait for them forever. One core
# decompresses faster than a disk reads.
blosc.use_threads = False

MANY_BLOCKS = 2  # a buffer of a single block is decompressed as a whole anyway


class ChunkReader:
    """Rows of any chunk. For one thread: without locks, none can be held while a process forks."""

    def __init__(
        self,
        place: Place,
        records: Records,
        *,
        chunk_frames: int,
        chunks_per_shard: int,
        cache_bytes: int,
    ) -> None:
        self._chunk_frames = chunk_frames
        self._bytes = ChunkBytes(place, records, chunks_per_shard=chunks_per_shard)
        self._cache = ByteCache(cache_bytes)
        self.is_remote = place.is_remote

    def rows(self, array: FrameArray, run: Rows) -> NDArray[np.uint8]:
        """The bytes of rows of one chunk, one row after the other. Callers must not write to them.

        Raises:
            StoreCorrupt: when bytes are missing, differ, or belong to another place.
        """
        shard, start, stop = run
        chunk, first = divmod(start, self._chunk_frames)
        row_bytes = array.row_bytes
        begin, end = first * row_bytes, (first + stop - start) * row_bytes
        name = array.object_name(shard)
        held = self._cache.get((name, chunk))
        if isinstance(held, np.ndarray):
            return held[begin:end]
        num_bytes = self._chunk_frames * row_bytes
        if held is not None:
            return self._whole(array, name, chunk, held)[begin:end]
        body = self._bytes.read(name, chunk, num_bytes=num_bytes)
        # zstd streams have no blocks; half of a chunk is worth all of it.
        seldom = 2 * (end - begin) < num_bytes and array.codec.name == "blosc"
        if seldom and num_blocks(body, num_bytes=num_bytes) >= MANY_BLOCKS:
            self._cache.put((name, chunk), body)
            return _decompress_part(body, begin, end, where=self._bytes.where(name, chunk))
        return self._whole(array, name, chunk, body)[begin:end]

    def expect(self, arrays: Sequence[FrameArray], runs: Sequence[Rows]) -> None:
        """Request from a server together what `rows` will read. Raises as `rows`."""
        self._bytes.expect(
            (name, chunk, self._chunk_frames * array.row_bytes)
            for array, name, chunk in self._chunks_of(arrays, runs)
            if (name, chunk) not in self._cache
        )

    def drop_expected(self) -> None:
        """Drop the bytes that were expected: they have been read."""
        self._bytes.expect(())

    def _whole(self, array: FrameArray, name: str, chunk: int, body: Buffer) -> NDArray[np.uint8]:
        """A decompressed chunk, which is kept."""
        num_bytes = self._chunk_frames * array.row_bytes
        where = self._bytes.where(name, chunk)
        flat = decompress(body, array.codec.name, num_bytes=num_bytes, where=where)
        self._cache.put((name, chunk), flat)
        return flat

    def _chunks_of(
        self, arrays: Sequence[FrameArray], runs: Sequence[Rows]
    ) -> Iterable[tuple[FrameArray, str, int]]:
        for array in arrays:
            for run in runs:
                yield array, array.object_name(run.shard), run.start // self._chunk_frames


def _decompress_part(body: Buffer, start: int, stop: int, *, where: str) -> NDArray[np.uint8]:
    try:
        return decompress_part(body, start, stop)
    except (RuntimeError, ValueError) as cause:
        raise StoreCorrupt(f"{where}: cannot be decompressed ({cause})") from cause
