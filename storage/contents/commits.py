"""Commits: the objects of each shard, as its commit record and as the format name them."""

from collections.abc import Sequence

from storage.contents.manifest import read_object
from storage.contents.metadata import StoreMetadata
from storage.errors import StoreCorrupt
from storage.format.layout import COMMITS, StoreAbout, commit_name, frame_arrays
from storage.format.records import Records, decode_records, record_of
from storage.place.place import Place


def read_commit(place: Place, metadata: StoreMetadata, shard: int) -> Records:
    """The commit record of a shard and the objects that it names.

    Raises:
        StoreCorrupt: when it is missing, or names other objects than this shard's.
    """
    name = commit_name(shard)
    return decode_commit(read_object(place, name), metadata, shard, place=place)


def decode_commit(content: bytes, metadata: StoreMetadata, shard: int, *, place: Place) -> Records:
    """The same from the record's bytes. Raises StoreCorrupt as `read_commit`."""
    name = commit_name(shard)
    records = decode_records(content, where=place.where(name))
    if records.keys() != set(shard_objects(metadata, shard)):
        raise StoreCorrupt(
            f"{place.where(name)} does not name the objects of shard {shard}: "
            f"run 'essence cache repair {place}', then 'essence teacher'"
        )
    return {name: record_of(content)} | records


def num_commits(records: Records) -> int:
    """How many shards are committed."""
    return sum(name.startswith(f"{COMMITS}/") for name in records)


def shard_objects(metadata: StoreMetadata, shard: int) -> Sequence[str]:
    """The names of a shard's objects: none where its utterances have no frames."""
    rows = metadata.plan.utterances(shard)
    has_frames = any(metadata.utterances[row].num_frames for row in rows)
    return frame_objects(metadata.about, shard) if has_frames else ()


def frame_objects(about: StoreAbout, shard: int) -> Sequence[str]:
    """The names of a shard's objects where it has frames."""
    return [array.object_name(shard) for array in frame_arrays(about)]


def metadata_records(metadata: StoreMetadata) -> Records:
    """What a writer of the same content puts into the metadata objects."""
    # Here, not at the top: zarr takes a quarter of a second to load, and no sealed store needs it.
    from storage.format.encoding import encode_metadata

    objects = encode_metadata(metadata.about, metadata.utterances, metadata.plan)
    return {name: record_of(content) for name, content in objects.items()}
