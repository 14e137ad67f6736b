"""Store contents: what a store must hold, sealed or under construction, and what is absent.

    HEAD -> manifest -> metadata          of a sealed store
    metadata -> commit records            of a store under construction

Read once; everything that works on an opened store passes this on.
"""

from dataclasses import dataclass

from storage.contents.commits import metadata_records, read_commit
from storage.contents.manifest import read_head, read_manifest
from storage.contents.metadata import (
    StoreMetadata,
    read_metadata,
    read_sealed_metadata,
    refuse_other_version,
)
from storage.contents.part import read_part_of
from storage.errors import StoreIncomplete
from storage.format.layout import commit_name
from storage.format.partial_copy import PartialCopy
from storage.format.records import Manifest, Records
from storage.place.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreContents:
    """Every object that must be there. `digest` is empty while the store is under construction.

    `absent_shards` have no commit record yet, or are committed and not in place. `part` is what a
    partial copy holds of it; None if it is whole.
    """

    place: Place
    digest: str
    records: Records
    metadata: StoreMetadata
    absent_shards: tuple[int, ...] = ()
    part: PartialCopy | None = None


def read_contents(place: Place, *, allow_unfinished: bool = False) -> StoreContents:
    """What a sealed store must hold; with `allow_unfinished` also one under construction.

    Raises:
        StoreIncomplete: when it is under construction, and that is not allowed.
        StoreCorrupt: when something is missing or differs.
        StoreUnreachable: when the system or the server does not let us read.
    """
    try:
        digest = read_head(place)
    except StoreIncomplete:
        if not allow_unfinished or not place.may_be_incomplete:
            raise
        return _unfinished_contents(place)
    return sealed_contents(place, digest, read_manifest(place, digest))


def sealed_contents(place: Place, digest: str, manifest: Manifest) -> StoreContents:
    """The contents of the store with this manifest. Raises as `read_contents`."""
    metadata = read_sealed_metadata(place, manifest.records)
    refuse_other_version(metadata, manifest, where=str(place))
    return StoreContents(
        place=place,
        digest=digest,
        records=manifest.records,
        metadata=metadata,
        part=read_part_of(place, digest) if place.may_be_incomplete else None,
    )


def _unfinished_contents(place: Place) -> StoreContents:
    metadata = read_metadata(place)
    records = metadata_records(metadata)
    # Objects of a shard only ever appear: what is committed after this look counts as absent.
    found = place.sizes()
    absent = []
    for shard in range(metadata.plan.num_shards):
        committed = read_commit(place, metadata, shard) if commit_name(shard) in found else {}
        if committed and all(found.get(n) == r.num_bytes for n, r in committed.items()):
            records |= committed
        else:
            absent.append(shard)
    return StoreContents(
        place=place, digest="", records=records, metadata=metadata, absent_shards=tuple(absent)
    )
