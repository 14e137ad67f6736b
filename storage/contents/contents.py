"""Store contents: what a store must hold, sealed or under construction, and what is not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from storage.contents.manifest import read_head, read_manifest, read_object
from storage.contents.metadata import StoreMetadata, read_metadata, read_sealed_metadata
from storage.errors import StoreCorrupt, StoreIncomplete
from storage.files.object_file import is_there
from storage.format.encoding import encode_metadata
from storage.format.layout import StoreAbout, commit_name, frame_arrays
from storage.format.records import Records, decode_records, record_of
from storage.place.remote_folder import RemoteFolder, Root


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreContents:
    """Every object that must be there. `digest` is empty while the store is under construction.

    `absent_shards` have no commit record yet, or are committed and not in place.
    """

    digest: str
    records: Records
    metadata: StoreMetadata
    absent_shards: tuple[int, ...]


def read_contents(root: Root, *, allow_partial: bool) -> StoreContents:
    """What a sealed store must hold; with `allow_partial` also one under construction, on disk.

    Raises:
        StoreIncomplete: when it is under construction, and that is not allowed.
        StoreCorrupt: when something is missing or differs.
    """
    try:
        digest = read_head(root)
    except StoreIncomplete:
        if not allow_partial or isinstance(root, RemoteFolder):
            raise
        return _partial_contents(root)
    records = read_manifest(root, digest)
    metadata = read_sealed_metadata(root, records)
    return StoreContents(digest=digest, records=records, metadata=metadata, absent_shards=())


def _partial_contents(root: Path) -> StoreContents:
    metadata = read_metadata(root)
    records = metadata_records(metadata)
    absent = []
    for shard in range(metadata.plan.num_shards):
        committed = read_commit(root, metadata, shard) if is_there(root, commit_name(shard)) else {}
        if commit_name(shard) in committed and _in_place(root, committed):
            records |= committed
        else:
            absent.append(shard)
    return StoreContents(digest="", records=records, metadata=metadata, absent_shards=tuple(absent))


def read_commit(root: Path, metadata: StoreMetadata, shard: int) -> Records:
    """The commit record of a shard and the objects that it names.

    Raises:
        StoreCorrupt: when it is missing, or names other objects than this shard's.
    """
    name = commit_name(shard)
    content = read_object(root, name)
    records = decode_records(content, where=str(root / name))
    if records.keys() != set(shard_objects(metadata, shard)):
        raise StoreCorrupt(
            f"{root / name} does not name the objects of shard {shard}: "
            f"run 'essence cache repair {root}', then 'essence teacher'"
        )
    return {name: record_of(content)} | records


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
    objects = encode_metadata(metadata.about, metadata.utterances, metadata.plan)
    return {name: record_of(content) for name, content in objects.items()}


def _in_place(root: Path, records: Records) -> bool:
    return all(is_there(root, name, num_bytes=record.num_bytes) for name, record in records.items())
