"""What zarr-python makes of the same values: the oracle of the shard encoder."""

import numpy as np
import zarr
from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from storage.format.encoding import encode_metadata
from storage.format.layout import StoreAbout, StoreUtterance, frame_arrays
from storage.format.shard_plan import plan_shards
from storage.write.shard_encoder import shard_values
from storage.write.top_k import KeptBlock


def zarr_shard(about: StoreAbout, kept: KeptBlock, *, shard: int) -> dict[str, bytes]:
    """The objects of one shard, written through zarr-python from the store's own metadata."""
    num_frames = len(kept.ids_TK)
    lengths = [about.shard_frames] * shard + [num_frames]
    rows = [
        StoreUtterance(id=str(u), num_frames=length, digest="0" * 64)
        for u, length in enumerate(lengths)
    ]
    metadata = encode_metadata(about, rows, plan_shards(lengths, about.shard_frames))
    prototype = default_buffer_prototype().buffer
    objects: dict[str, Buffer] = {
        name: prototype.from_bytes(content) for name, content in metadata.items()
    }
    group = zarr.open_group(MemoryStore(objects), mode="r+", use_consolidated=False)
    used_rows = -(-num_frames // about.chunk_frames) * about.chunk_frames
    start = shard * about.shard_frames
    for name, values in shard_values(about, kept).items():
        spec = next(spec for spec in frame_arrays(about) if spec.name == name)
        padding = [(0, used_rows - num_frames), (0, 0)][: values.ndim]
        array = group[name]
        assert isinstance(array, zarr.Array)
        everything = array.with_config({"write_empty_chunks": True})
        padded = np.pad(values, padding, constant_values=spec.fill)
        everything[start : start + used_rows] = padded
    names = [spec.object_name(shard) for spec in frame_arrays(about)]
    return {name: objects[name].to_bytes() for name in names}
