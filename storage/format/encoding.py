"""Store encoding: metadata and the utterance table -> the bytes of Zarr v3 objects, by zarr-python.

`encode_metadata` gives {object name: bytes} and touches no disk. The same values give the same
bytes. The frames themselves are encoded in `shard_encoder.py`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from storage.format.attributes import to_attributes
from storage.format.codec import BLOSC_ZSTD, NO_CHECKSUM, Codec
from storage.format.layout import (
    FrameArray,
    StoreAbout,
    StoreUtterance,
    frame_arrays,
)
from storage.format.shard_plan import ShardPlan
from storage.format.utterance_table import UtteranceTable

UTTERANCE_GROUP = "utterances"
# write_empty_chunks: a chunk that is missing must never stand for data that equals the fill.
CONFIG = {"write_empty_chunks": True}


def encode_metadata(
    about: StoreAbout, utterances: Sequence[StoreUtterance], plan: ShardPlan
) -> dict[str, bytes]:
    """The objects that exist before the first shard: zarr.json files and the utterance table.

    The group's own zarr.json comes last: a store that has it has all of them.
    """
    objects: dict[str, Buffer] = {}
    rows = UtteranceTable.of(utterances)
    lengths = rows.length_U.tolist()
    attributes = to_attributes(about, num_shards=plan.num_shards, lengths=lengths)
    group = zarr.create_group(MemoryStore(objects), attributes=attributes)
    for spec in frame_arrays(about):
        _create_frame_array(group, spec, about, num_shards=plan.num_shards)
    table = group.create_group(UTTERANCE_GROUP)
    for name, column in utterance_columns(rows, plan).items():
        _write_column(table, name, column)
    names = sorted(objects, key=lambda name: (name == "zarr.json", name))
    return {name: objects[name].to_bytes() for name in names}


def utterance_columns(
    utterances: Sequence[StoreUtterance], plan: ShardPlan
) -> dict[str, NDArray[Any]]:
    """The utterance table. Ids are one blob of UTF-8: id u is id_bytes[offsets[u]:offsets[u+1]]."""
    table = UtteranceTable.of(utterances)
    return {
        "id_bytes": np.frombuffer(table.ids, dtype=np.uint8),
        "id_offsets": table.starts_V.astype(np.uint64),
        "shard": plan.shard_U,
        "offset": plan.offset_U,
        "length": table.length_U,
        "digest": table.digest_UB,
    }


def _create_frame_array(
    group: zarr.Group, spec: FrameArray, about: StoreAbout, *, num_shards: int
) -> zarr.Array[Any]:
    tail = () if spec.width is None else (spec.width,)
    return group.create_array(
        spec.name,
        shape=(num_shards * about.shard_frames, *tail),
        shards=(about.shard_frames, *tail),
        chunks=(about.chunk_frames, *tail),
        dtype=spec.dtype,
        fill_value=spec.fill if spec.dtype == "float32" else int(spec.fill),
        filters=None,
        serializer=BytesCodec(endian="little"),
        compressors=[_compressor(spec.codec, spec.itemsize), Crc32cCodec()],
        dimension_names=("frame", "rank")[: 1 + len(tail)],
        config=CONFIG,  # type: ignore[arg-type]
    )


def _compressor(codec: Codec, item_bytes: int) -> ZstdCodec | BloscCodec:
    if codec.name == "zstd":
        return ZstdCodec(level=codec.level, checksum=NO_CHECKSUM)
    return BloscCodec(
        typesize=item_bytes,
        cname=codec.compressor,  # type: ignore[arg-type]
        clevel=codec.level,
        shuffle=codec.shuffle,  # type: ignore[arg-type]
        blocksize=codec.block_bytes,
    )


def _write_column(table: zarr.Group, name: str, column: NDArray[Any]) -> None:
    array = table.create_array(
        name,
        shape=column.shape,
        chunks=(max(1, column.shape[0]), *column.shape[1:]),
        dtype=column.dtype,
        filters=None,
        serializer=BytesCodec(endian="little"),
        compressors=[_compressor(BLOSC_ZSTD, column.dtype.itemsize), Crc32cCodec()],
        config=CONFIG,  # type: ignore[arg-type]
    )
    if column.size:
        array[...] = column
