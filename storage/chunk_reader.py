"""ChunkReader: one inner chunk of a sealed store's array, and proof that it is the right one.

Shapes: F rows of a chunk, W columns.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreCorrupt
from storage.manifest import ObjectRecord, Records
from storage.shard_object import (
    ABSENT,
    CRC_BYTES,
    check_crc,
    decompress,
    index_bytes,
    read_index,
)
from storage.store_format import FrameArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkReader:
    """Reads chunks by array, shard and number. Holds no open file, so it survives a fork."""

    root: Path
    records: Records
    chunk_frames: int
    chunks_per_shard: int

    def read(self, array: FrameArray, *, shard: int, chunk: int) -> NDArray[Any]:
        """Decoded rows (F, W), or (F,) for an array of one value a frame.

        Raises:
            StoreCorrupt: when bytes are missing, differ, or belong to another place.
        """
        name = array.object_name(shard)
        if name not in self.records or chunk >= len(self.records[name].chunks):
            raise StoreCorrupt(f"{self.root}: the manifest does not list chunk {chunk} of {name}")
        where = f"{self.root / name}, chunk {chunk}"
        raw = self._raw(name, chunk, where=where)
        body = check_crc(raw, where=where)
        if int.from_bytes(raw[-CRC_BYTES:], "little") != self.records[name].chunks[chunk]:
            raise StoreCorrupt(
                f"{where}: crc32c is not the manifest's: this object belongs to another place "
                "or another store"
            )
        num_bytes = self.chunk_frames * array.row_bytes
        flat = decompress(body, array.codec, num_bytes=num_bytes, where=where)
        rows = flat.view(np.dtype(array.dtype).newbyteorder("<"))
        return rows if array.width is None else rows.reshape(self.chunk_frames, array.width)

    def _raw(self, name: str, chunk: int, *, where: str) -> bytes:
        record = self.records[name]
        try:
            handle = os.open(self.root / name, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError as cause:
            raise StoreCorrupt(f"{where}: cannot be opened ({cause.strerror})") from cause
        try:
            return self._chunk_bytes(handle, record, chunk, where=where)
        except OSError as cause:
            raise StoreCorrupt(f"{where}: cannot be read ({cause.strerror})") from cause
        finally:
            os.close(handle)

    def _chunk_bytes(self, handle: int, record: ObjectRecord, chunk: int, *, where: str) -> bytes:
        num_bytes = os.fstat(handle).st_size
        if num_bytes != record.num_bytes:
            raise StoreCorrupt(
                f"{where}: the object has {num_bytes} bytes, written were {record.num_bytes}"
            )
        index_size = index_bytes(self.chunks_per_shard)
        tail = os.pread(handle, index_size, num_bytes - index_size)
        entries_J2 = read_index(tail, object_bytes=num_bytes, where=where)
        offset, size = (int(value) for value in entries_J2[chunk])
        if offset == ABSENT:
            raise StoreCorrupt(f"{where}: the chunk is missing")
        return os.pread(handle, size, offset)
