"""Repair: damaged shards leave the store, so that they are made again; nothing is invented.

A shard with a damaged object loses its commit record, and the store its HEAD: it is under
construction again, and 'essence teacher' makes the missing shards, to the same bytes and digest.
What is taken out goes to <store>.quarantine/ next to it. Metadata that follow from sound ones are
written again; if the attributes or the utterance table themselves are damaged, nothing is done.
No link is followed (quarantine.py).
"""

import os
from dataclasses import dataclass
from pathlib import Path

from storage.care.quarantine import odd_stage, places_to_take_out, quarantine_of, take_out
from storage.contents.commits import frame_objects, metadata_records, read_commit
from storage.contents.manifest import read_head, read_manifest
from storage.contents.metadata import StoreMetadata, read_metadata
from storage.contents.object_check import check_objects, strangers
from storage.contents.part import read_part
from storage.errors import StoreCorrupt, StoreError, StoreIncomplete
from storage.files.object_file import is_there, opened, patiently
from storage.format.encoding import encode_metadata
from storage.format.layout import commit_name
from storage.format.records import HEAD, STAGE, Records, record_of
from storage.format.shard_object import ABSENT, CRC_BYTES, index_bytes, read_index
from storage.place.local_folder import LocalFolder
from storage.place.place import Place
from storage.write.claim import claim_again, claim_new
from storage.write.commit import clear_stage, publish


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairPlan:
    """What is to be done. `out` leaves the store in this order: HEAD, commit records, the rest.

    With `unseals` the store is under construction afterwards. `made_by` is the command of a
    derived store ("merge", "split"), None of one that was labelled.
    """

    damaged_shards: tuple[int, ...]
    unseals: bool
    out: tuple[str, ...]
    rewrite: dict[str, bytes]
    made_by: str | None

    @property
    def is_empty(self) -> bool:
        """Is the store sound?"""
        return not (self.out or self.rewrite)


def plan_repair(root: Path) -> RepairPlan:
    """Read every byte, and return what must be done.

    Raises:
        StoreCorrupt: when the attributes or the utterance table are damaged.
        StoreError: when there is no store, or a partial copy.
        StoreUnreachable: when the system does not let us read.
    """
    place = LocalFolder(root)
    quarantine_of(root)  # refused before anything is done
    if read_part(place):
        raise StoreError(
            f"{root} is a partial copy: the same 'essence cache pull' again mends what is damaged"
        )
    digest, records = _sealed_records(place)
    metadata = _read_metadata(place)
    shards = range(metadata.plan.num_shards)
    damaged = [shard for shard in shards if _is_damaged(place, metadata, shard, records)]
    unseals = is_there(root, HEAD) and bool(damaged or not digest)
    commits = [commit_name(shard) for shard in damaged]
    objects = [name for shard in damaged for name in frame_objects(metadata.about, shard)]
    out = [*([HEAD, *_manifests(root)] if unseals else []), *commits, *objects]
    out += _unknown(place, metadata, digest, out)
    return RepairPlan(
        damaged_shards=tuple(damaged),
        unseals=unseals,
        out=places_to_take_out(root, [*odd_stage(root), *out]),
        rewrite=_metadata_to_rewrite(place, metadata, records),
        made_by=metadata.about.origin.made_by if metadata.about.origin else None,
    )


def repair(root: Path, plan: RepairPlan) -> Path:
    """Do what was planned. Returns the folder of what was taken out. May be done again.

    A store whose HEAD was lost or goes is continued by the code that runs here.

    HEAD goes first, so that no reader opens the store meanwhile; commit records before the objects
    that they promise, so that a repair that is killed leaves shards that are made again.

    Raises:
        StoreMismatch: when the store is unfinished work of other code.
    """
    quarantine = quarantine_of(root)
    # A claim is written into the stage.
    take_out(root, [name for name in plan.out if name == STAGE], quarantine=quarantine)
    if plan.unseals:
        claim_again(root)  # before HEAD goes: what is under construction belongs to some code
    elif not is_there(root, HEAD):
        claim_new(root)
    rest = [name for name in plan.out if name != STAGE]
    take_out(root, rest, quarantine=quarantine)
    if plan.rewrite:
        publish(root, plan.rewrite)
        if is_there(root, HEAD):
            clear_stage(root)
    return quarantine


def _sealed_records(place: Place) -> tuple[str, Records]:
    """Digest and records of a sealed store with a sound HEAD and manifest; otherwise empty."""
    try:
        digest = read_head(place)
        return digest, read_manifest(place, digest).records
    except (StoreIncomplete, StoreCorrupt):
        return "", {}


def _read_metadata(place: Place) -> StoreMetadata:
    try:
        return read_metadata(place, guess_codecs=True)
    except StoreCorrupt as cause:
        raise StoreCorrupt(
            f"{cause}: this cannot be repaired: take zarr.json and utterances/ from another copy "
            "of the store, or remove it and run 'essence teacher' again"
        ) from cause


def _is_damaged(place: LocalFolder, metadata: StoreMetadata, shard: int, manifest: Records) -> bool:
    """Is something missing that was committed? A shard without commit record is not damaged."""
    name = commit_name(shard)
    if not _is(place.folder, name):
        return name in manifest
    try:
        committed = read_commit(place, metadata, shard)
    except StoreCorrupt:
        return True
    if manifest and manifest.get(name) != committed[name]:
        return True
    if any(problem for _, problem in check_objects(place, committed, data=True)):
        return True
    return not all(
        _chunks_agree(place.folder, metadata, object_name, committed)
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
    place: Place, metadata: StoreMetadata, manifest: Records
) -> dict[str, bytes]:
    """Metadata objects that differ, with the right bytes, which the manifest's sha256 confirms.

    Raises:
        StoreCorrupt: when the right bytes are not known.
    """
    ours = metadata_records(metadata)
    wanted = {name: manifest.get(name, record) for name, record in ours.items()}
    differing = [p.name for _, p in check_objects(place, wanted, data=True) if p]
    lost = [name for name in differing if ours[name] != wanted[name]]
    if lost:
        raise StoreCorrupt(
            f"{place}: {', '.join(lost)} cannot be repaired: take it from another copy of the "
            "store, or remove the store and run 'essence teacher' again"
        )
    objects = encode_metadata(metadata.about, metadata.utterances, metadata.plan)
    return {name: objects[name] for name in differing}


def _unknown(place: LocalFolder, metadata: StoreMetadata, digest: str, out: list[str]) -> list[str]:
    """Files that belong to no store of this content."""
    known = dict.fromkeys([*metadata_records(metadata), *out, HEAD], record_of(b""))
    known |= {} if digest else dict.fromkeys(_manifests(place.folder), record_of(b""))
    for shard in range(metadata.plan.num_shards):
        names = [commit_name(shard), *frame_objects(metadata.about, shard)]
        known |= dict.fromkeys(names, record_of(b""))
    return [problem.name for problem in strangers(place, known, digest=digest)]


def _manifests(root: Path) -> list[str]:
    return sorted(path.name for path in root.glob("manifest-*.json"))


def _is(root: Path, name: str) -> bool:
    return os.path.lexists(root / name)
