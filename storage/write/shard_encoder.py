"""ShardEncoder: frames of one shard, in blocks of any size -> the bytes of its Zarr v3 objects.

The bytes are those that zarr-python makes of the same values (a test compares them), at a third of
its time: each inner chunk is compressed as soon as it is full. Memory holds one chunk and the
compressed ones. The layout is drawn in `shard_object.py`, which decodes.

Shapes: T frames of a block, K kept ranks, F rows of an inner chunk, J inner chunks of a shard.
"""

from collections.abc import Iterable
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from storage.format.layout import (
    COUNT,
    FrameArray,
    StoreAbout,
    frame_arrays,
    ids_fill,
    log_norm_array,
    tier_arrays,
)
from storage.format.shard_object import ABSENT, CRC_BYTES, compress
from storage.format.value_code import encode_logp, encode_prob, rank_differences
from storage.write.prune import prune
from storage.write.top_k import KeptBlock, cut_block, join_blocks


def encode_shard(about: StoreAbout, blocks: Iterable[KeptBlock], *, shard: int) -> dict[str, bytes]:
    """The objects of one shard, by name. A shard without frames has none."""
    encoder = ShardEncoder(about)
    for block in blocks:
        encoder.add(block)
    return encoder.finish(shard=shard)


class ShardEncoder:
    """One shard in the making."""

    def __init__(self, about: StoreAbout) -> None:
        self._about = about
        self._waiting: list[KeptBlock] = []
        self._num_waiting = 0
        self._objects = {spec: ShardObject() for spec in frame_arrays(about)}

    def add(self, block: KeptBlock) -> None:
        """Take the frames that come next."""
        size = self._about.chunk_frames
        start, num_frames = 0, len(block.ids_TK)
        while start < num_frames:
            stop = min(num_frames, start + size - self._num_waiting)
            self._waiting.append(cut_block(block, start, stop))
            self._num_waiting += stop - start
            start = stop
            if self._num_waiting == size:
                self._encode_chunk()

    def finish(self, *, shard: int) -> dict[str, bytes]:
        """All objects; the last chunk is filled up."""
        if self._waiting:
            self._encode_chunk()
        num_chunks = self._about.shard_frames // self._about.chunk_frames
        return {
            spec.object_name(shard): made.to_bytes(num_chunks)
            for spec, made in self._objects.items()
            if made.chunks
        }

    def _encode_chunk(self) -> None:
        values = shard_values(self._about, join_blocks(self._waiting))
        for spec, made in self._objects.items():
            made.chunks.append(encode_chunk(spec, values[spec.name], self._about.chunk_frames))
        self._waiting, self._num_waiting = [], 0


class ShardObject:
    """Inner chunks of one array, one after the other."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []

    def to_bytes(self, num_chunks: int) -> bytes:
        """The chunks, then the index of all chunks of the shard, absent ones included."""
        entries_J2 = np.full((num_chunks, 2), ABSENT, dtype="<u8")
        sizes = np.array([len(chunk) for chunk in self.chunks], dtype=np.uint64)
        entries_J2[: len(sizes), 0] = np.cumsum(sizes) - sizes
        entries_J2[: len(sizes), 1] = sizes
        index = entries_J2.tobytes()
        return b"".join([*self.chunks, index, _crc(index)])


def shard_values(about: StoreAbout, kept: KeptBlock) -> dict[str, NDArray[Any]]:
    """The values of each array, before compression."""
    values: dict[str, NDArray[Any]] = {}
    ids_TK, tail_TG = kept.ids_TK.astype(about.ids_dtype), kept.tail_TG
    codes_TK = rank_differences(encode_logp(kept.logp_TK))
    if about.pruning is not None:
        values[COUNT], is_absent_TK, tail_TG = prune(kept, about, about.pruning)
        ids_TK[is_absent_TK], codes_TK[is_absent_TK] = ids_fill(about), 0
    for index, tier in enumerate(about.tiers):
        ids, val, tail = tier_arrays(about, index)
        values[ids.name] = ids_TK[:, tier.columns]
        values[val.name] = codes_TK[:, tier.columns]
        values[tail.name] = encode_prob(tail_TG[:, index])
    for column, temperature in enumerate(about.temperatures):
        values[log_norm_array(about, temperature).name] = kept.log_norm_TH[:, column]
    return values


def encode_chunk(spec: FrameArray, values: NDArray[Any], chunk_frames: int) -> bytes:
    """One inner chunk: little-endian rows, filled up to F, compressed, crc32c."""
    dtype = np.dtype(spec.dtype).newbyteorder("<")
    if len(values) < chunk_frames:
        rows = np.full((chunk_frames, *values.shape[1:]), spec.fill, dtype=dtype)
        rows[: len(values)] = values
    else:
        rows = np.ascontiguousarray(values, dtype=dtype)
    body = compress(spec.codec, rows.reshape(-1).view(np.uint8), item_bytes=spec.itemsize)
    return body + _crc(body)


def _crc(body: bytes) -> bytes:
    return int(google_crc32c.value(body)).to_bytes(CRC_BYTES, "little")
