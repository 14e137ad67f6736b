"""Listed objects: a manifest names the objects of its store's format, at possible sizes only.

A manifest from another machine is untrusted input: it must not make a reader fetch anything but
the objects of the format.
"""

from storage.contents.commits import shard_objects
from storage.contents.metadata import TABLE, StoreMetadata
from storage.errors import StoreCorrupt
from storage.files.object_file import MAX_OBJECT_BYTES
from storage.format.layout import FrameArray, commit_name, frame_arrays
from storage.format.records import Records
from storage.format.shard_object import index_bytes, most_compressed


def refuse_odd_objects(metadata: StoreMetadata, records: Records, *, where: str) -> None:
    """Make sure that a manifest names the objects of this store, all shards', and nothing else.

    Raises:
        StoreCorrupt: naming an object that the format does not have, that is missing, or whose
            size cannot be.
    """
    about = metadata.about
    arrays = frame_arrays(about)
    groups = ["", *(f"{array.name}/" for array in arrays), "utterances/"]
    known = {f"{group}zarr.json" for group in (*groups, *(f"utterances/{n}/" for n in TABLE))}
    known |= set(TABLE.values())
    limits = dict.fromkeys(known, MAX_OBJECT_BYTES)
    num_chunks = about.shard_frames // about.chunk_frames
    most = {array.name: _most_bytes(array, about.chunk_frames, num_chunks) for array in arrays}
    for shard in range(metadata.plan.num_shards):
        names = shard_objects(metadata, shard)
        limits |= {name: most[name.partition("/")[0]] for name in names}
        limits[commit_name(shard)] = MAX_OBJECT_BYTES
        for name in (commit_name(shard), *names):
            if name not in records:
                raise StoreCorrupt(f"{where}: the manifest does not list {name}")
    for name, record in records.items():
        if name not in limits:
            raise StoreCorrupt(f"{where}: the manifest lists {name!r}, which is no store's object")
        if record.num_bytes > limits[name]:
            raise StoreCorrupt(
                f"{where}: the manifest gives {name} {record.num_bytes} bytes, "
                f"it can have {limits[name]} at most"
            )


def _most_bytes(array: FrameArray, chunk_frames: int, num_chunks: int) -> int:
    chunk = most_compressed(chunk_frames * array.row_bytes)
    return num_chunks * chunk + index_bytes(num_chunks)
