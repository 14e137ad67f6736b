"""Verify: every object of a store against its record, sealed or under construction."""

from collections.abc import Callable
from dataclasses import dataclass

from storage.contents.commits import decode_commit, num_commits
from storage.contents.contents import StoreContents, read_contents, sealed_contents
from storage.contents.listed_objects import refuse_odd_objects
from storage.contents.manifest import read_head, read_manifest, read_objects
from storage.contents.object_check import EVERYTHING, Problem, Subset, check_objects, strangers
from storage.contents.part import read_part_of, records_here
from storage.errors import StoreCorrupt, StoreIncomplete
from storage.format.layout import commit_name
from storage.format.records import Manifest, Records
from storage.place.place import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The findings. `digest` is empty, and shards may be absent, of an unfinished store.

    Of a partial copy (partial_copy.py) the objects that are here are checked.
    """

    digest: str
    num_objects: int
    num_checked: int
    num_bytes: int
    num_shards: int
    absent_shards: tuple[int, ...]
    num_left_out: int  # objects that a partial copy does not have
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ToVerify:
    """Objects to be checked: `here` are those of the manifest that a partial copy has."""

    place: Place
    digest: str
    manifest: Manifest
    here: Records
    absent_shards: tuple[int, ...]
    subset: Subset

    @property
    def num_bytes(self) -> int:
        """Bytes of the chosen objects."""
        return sum(self.here[name].num_bytes for name in self.subset.choose(self.here))


def plan_verify(
    place: Place, *, subset: Subset = EVERYTHING, allow_unfinished: bool = False
) -> ToVerify:
    """Read HEAD and the manifest, or the commit records of an unfinished store.

    Raises:
        StoreIncomplete: when it is under construction, and that is not allowed.
        StoreCorrupt: when HEAD or the manifest is damaged: the rest cannot be judged then.
        StoreUnreachable: when the system or the server does not let us read.
    """
    try:
        digest = read_head(place)
    except StoreIncomplete:
        if not allow_unfinished:
            raise
        contents = read_contents(place, allow_unfinished=True)
        version = contents.metadata.about.coding.format_version
        found = Manifest(version=version, records=contents.records)
        return _to_verify(place, "", found, contents.absent_shards, subset)
    return _to_verify(place, digest, read_manifest(place, digest), (), subset)


def _to_verify(
    place: Place, digest: str, manifest: Manifest, absent: tuple[int, ...], subset: Subset
) -> ToVerify:
    part = read_part_of(place, digest) if digest and place.may_be_incomplete else None
    return ToVerify(
        place=place,
        digest=digest,
        manifest=manifest,
        here=records_here(place, part, manifest.records),
        absent_shards=absent,
        subset=subset,
    )


def verify_store(
    plan: ToVerify, *, data: bool, advance: Callable[[int], None] = lambda _: None
) -> Verified:
    """Check sizes, and with `data` all bytes. `advance` gets the bytes of each object.

    A server is not asked what else it holds.

    Raises:
        StoreCorrupt: when sound bytes are not those of a store of this format.
        StoreUnreachable: when the system or the server does not let us read.
    """
    problems = []
    for num_bytes, problem in check_objects(plan.place, plan.here, data=data, subset=plan.subset):
        problems += [problem] if problem else []
        advance(num_bytes)
    if plan.digest:
        problems += strangers(plan.place, plan.manifest.records, digest=plan.digest)
    if plan.digest and not problems:
        _refuse_odd_content(sealed_contents(plan.place, plan.digest, plan.manifest), data=data)
    return Verified(
        digest=plan.digest,
        num_objects=len(plan.here),
        num_checked=len(plan.subset.choose(plan.here)),
        num_bytes=plan.num_bytes,
        num_shards=num_commits(plan.manifest.records) + len(plan.absent_shards),
        absent_shards=plan.absent_shards,
        num_left_out=len(plan.manifest.records) - len(plan.here),
        problems=tuple(problems),
    )


def _refuse_odd_content(contents: StoreContents, *, data: bool) -> None:
    """Sound bytes may still be of another format, or a manifest that of no store.

    Raises:
        StoreCorrupt: naming an object that does not belong there, or on which a commit record
            and the manifest disagree.
    """
    place, metadata, records = contents.place, contents.metadata, contents.records
    refuse_odd_objects(metadata, records, where=str(place))
    if not data:
        return
    names = {commit_name(shard): shard for shard in range(metadata.plan.num_shards)}
    for name, content in read_objects(place, {name: records[name] for name in names}):
        committed = decode_commit(content, metadata, names[name], place=place)
        for object_name, record in committed.items():
            if records[object_name] != record:
                raise StoreCorrupt(
                    f"{place.where(name)} and the manifest disagree on {object_name}: "
                    "copy the store again"
                )
