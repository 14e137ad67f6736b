"""Repair: damaged shards leave the store, so that they are made again; nothing is invented.

A shard with a damaged object loses its commit record, and the store its HEAD: it is under
construction again, and whoever made it makes what is missing, to the same bytes and digest. What
is taken out goes to <store>.quarantine/ beside it. Metadata that follow from sound ones are
written again; where the attributes or the utterance table themselves are damaged, nothing is done.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from storage.contents.contents import frame_objects, metadata_records, read_commit
from storage.contents.manifest import read_head, read_manifest
from storage.contents.metadata import StoreMetadata, read_metadata
from storage.contents.object_check import check_objects, strangers
from storage.contents.part import read_part
from storage.errors import StoreCorrupt, StoreError, StoreIncomplete
from storage.files.object_file import is_there, opened, patiently
from storage.files.publish import sync_directory
from storage.format.encoding import encode_metadata
from storage.format.layout import commit_name
from storage.format.records import HEAD, Records, record_of
from storage.format.shard_object import ABSENT, CRC_BYTES, index_bytes, read_index
from storage.write.commit import clear_stage, publish

QUARANTINE = ".quarantine"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPlan:
    """What is to be done. `out` leaves the store in this order: HEAD, commit records, the rest.

    With `unseals` the store is under construction afterwards.
    """

    damaged_shards: tuple[int, ...]
    unseals: bool
    out: tuple[str, ...]
    rewrite: dict[str, bytes]

    @property
    def is_empty(self) -> bool:
        """Is the store sound?"""
        return not (self.out or self.rewrite)


def plan_repair(root: Path) -> RepairPlan:
    """Read every byte, and say what must be done.

    Raises:
        StoreCorrupt: when the attributes or the utterance table are damaged.
        StoreError: when there is no store, or a partial copy.
        StoreUnreachable: when the system does not let us read.
    """
    if read_part(root):
        raise StoreError(
            f"{root} is a partial copy: the same 'essence cache pull' again mends what is damaged"
        )
    digest, records = _believed(root)
    metadata = _read_metadata(root)
    shards = range(metadata.plan.num_shards)
    damaged = [shard for shard in shards if _is_damaged(root, metadata, shard, records)]
    unseals = is_there(root, HEAD) and bool(damaged or not digest)
    commits = [commit_name(shard) for shard in damaged]
    objects = [name for shard in damaged for name in frame_objects(metadata.about, shard)]
    out = [*([HEAD, *_manifests(root)] if unseals else []), *commits, *objects]
    out += _unknown(root, metadata, digest, out)
    return RepairPlan(
        damaged_shards=tuple(damaged),
        unseals=unseals,
        out=tuple(name for name in out if _is(root, name)),
        rewrite=_metadata_to_rewrite(root, metadata, records),
    )


def repair(root: Path, plan: RepairPlan) -> Path:
    """Do what was planned. Returns the folder of what was taken out. May be done again.

    HEAD goes first, so that nobody reads meanwhile; commit records before what they promise, so
    that a repair that is killed leaves shards that are made again.
    """
    quarantine = root.with_name(root.name + QUARANTINE)
    for name in plan.out:
        quarantine.mkdir(exist_ok=True)
        os.replace(root / name, _free_place(quarantine, name))
        sync_directory((root / name).parent)
    if plan.out:
        sync_directory(quarantine)
    if plan.rewrite:
        publish(root, plan.rewrite)
        if is_there(root, HEAD):
            clear_stage(root)
    return quarantine


def _believed(root: Path) -> tuple[str, Records]:
    """Digest and records of a sealed store whose HEAD and manifest are sound; else nothing."""
    try:
        digest = read_head(root)
        return digest, read_manifest(root, digest)
    except (StoreIncomplete, StoreCorrupt):
        return "", {}


def _read_metadata(root: Path) -> StoreMetadata:
    try:
        return read_metadata(root)
    except StoreCorrupt as cause:
        raise StoreCorrupt(
            f"{cause}: this cannot be repaired: take zarr.json and utterances/ from another copy "
            "of the store, or remove it and run 'essence teacher' again"
        ) from cause


def _is_damaged(root: Path, metadata: StoreMetadata, shard: int, manifest: Records) -> bool:
    """Is what was committed not there? A shard that nobody has committed is not damaged."""
    name = commit_name(shard)
    if not _is(root, name):
        return name in manifest
    try:
        committed = read_commit(root, metadata, shard)
    except StoreCorrupt:
        return True
    if manifest and manifest.get(name) != committed[name]:
        return True
    if any(problem for _, problem in check_objects(root, committed, data=True)):
        return True
    return not all(
        _chunks_agree(root, metadata, object_name, committed)
        for object_name in committed.keys() - {name}
    )


def _chunks_agree(root: Path, metadata: StoreMetadata, name: str, records: Records) -> bool:
    num_chunks = metadata.about.shard_frames // metadata.about.chunk_frames
    found = patiently(lambda: _stored_checksums(root, name, num_chunks), where=str(root / name))
    return found == records[name].chunks and len(found) == num_chunks


def _stored_checksums(root: Path, name: str, num_chunks: int) -> tuple[int | None, ...]:
    with opened(root, name) as (handle, num_bytes):
        size = index_bytes(num_chunks)
        raw = os.pread(handle, size, max(0, num_bytes - size))
        found: list[int | None] = []
        for offset, length in read_index(raw, object_bytes=num_bytes, where=str(root / name)):
            held = offset != ABSENT
            at = int(offset + length) - CRC_BYTES if held else 0
            crc = os.pread(handle, CRC_BYTES, at)
            found.append(int.from_bytes(crc, "little") if held else None)
    return tuple(found)


def _metadata_to_rewrite(
    root: Path, metadata: StoreMetadata, manifest: Records
) -> dict[str, bytes]:
    """Metadata objects that differ, as they must be: known by the manifest's sha256.

    Raises:
        StoreCorrupt: when what they must be is not known.
    """
    ours = metadata_records(metadata)
    wanted = {name: manifest.get(name, record) for name, record in ours.items()}
    differing = [p.name for _, p in check_objects(root, wanted, data=True) if p]
    lost = [name for name in differing if ours[name] != wanted[name]]
    if lost:
        raise StoreCorrupt(
            f"{root}: {', '.join(lost)} cannot be repaired: take it from another copy of the "
            "store, or remove the store and run 'essence teacher' again"
        )
    objects = encode_metadata(metadata.about, metadata.utterances, metadata.plan)
    return {name: objects[name] for name in differing}


def _unknown(root: Path, metadata: StoreMetadata, digest: str, out: list[str]) -> list[str]:
    """What belongs to no store of this content."""
    known = dict.fromkeys([*metadata_records(metadata), *out, HEAD], record_of(b""))
    known |= {} if digest else dict.fromkeys(_manifests(root), record_of(b""))
    for shard in range(metadata.plan.num_shards):
        names = [commit_name(shard), *frame_objects(metadata.about, shard)]
        known |= dict.fromkeys(names, record_of(b""))
    return [problem.name for problem in strangers(root, known, digest=digest)]


def _manifests(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("manifest-*.json"))


def _is(root: Path, name: str) -> bool:
    return os.path.lexists(root / name)


def _free_place(folder: Path, name: str) -> Path:
    """A name that nothing has yet: what was taken out before stays."""
    flat, number = name.replace("/", "."), 0
    while (place := folder / (f"{flat}.{number}" if number else flat)).exists():
        number += 1
    return place
