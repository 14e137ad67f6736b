"""Verify: every object of a store against what it must be."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.contents.contents import read_commit, read_contents
from storage.contents.listed_objects import refuse_odd_objects
from storage.contents.manifest import read_head, read_manifest
from storage.contents.object_check import (
    EVERYTHING,
    Problem,
    Subset,
    check_objects,
    files_below,
    strangers,
)
from storage.contents.part import only_here
from storage.errors import StoreCorrupt
from storage.files.object_file import is_there
from storage.format.layout import commit_name
from storage.format.records import HEAD, Records
from storage.place.remote_folder import RemoteFolder, Root

COMMITS = "commits/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found. `digest` is empty, and shards may be absent, while it is built.

    Of a partial copy (partial_copy.py) what is here is checked.
    """

    digest: str
    num_objects: int
    num_checked: int
    num_bytes: int
    num_shards: int
    absent_shards: tuple[int, ...]
    num_left_out: int  # objects that a partial copy is not to have
    problems: tuple[Problem, ...]


def verify_store(
    root: Root,
    *,
    data: bool,
    subset: Subset = EVERYTHING,
    allow_partial: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Check a store, or one part of `subset.parts`. `advance` is told the bytes of each object.

    A server is not asked what else it holds.

    Raises:
        StoreIncomplete: when it is under construction, and that is not allowed.
        StoreCorrupt: when HEAD or the manifest are damaged, so that the rest has no measure.
        StoreUnreachable: when the system does not let us read.
    """
    if not allow_partial or isinstance(root, RemoteFolder) or is_there(root, HEAD):
        digest = read_head(root)
        absent: tuple[int, ...] = ()
        records = read_manifest(root, digest)
    else:
        contents = read_contents(root, allow_partial=True)
        digest, absent, records = "", contents.absent_shards, contents.records
    here = only_here(root, records) if digest and isinstance(root, Path) else records
    problems = []
    for num_bytes, problem in check_objects(root, here, data=data, subset=subset):
        problems += [problem] if problem else []
        advance(num_bytes)
    if digest and isinstance(root, Path):
        problems += strangers(root, records, digest=digest)
    if digest and not problems:
        _refuse_odd_content(root, data=data)
    chosen = subset.choose(here)
    return Verified(
        digest=digest,
        num_objects=len(here),
        num_checked=len(chosen),
        num_bytes=sum(records[name].num_bytes for name in chosen),
        num_shards=num_commits(records) + len(absent),
        absent_shards=absent,
        num_left_out=len(records) - len(here),
        problems=tuple(problems),
    )


def _refuse_odd_content(root: Root, *, data: bool) -> None:
    """Sound bytes may still be of another format, or a manifest that of no store.

    Raises:
        StoreCorrupt: naming what does not belong, or a commit record that the manifest belies.
    """
    contents = read_contents(root, allow_partial=False)
    refuse_odd_objects(contents.metadata, contents.records, where=str(root))
    if not data or isinstance(root, RemoteFolder):
        return
    for shard in range(contents.metadata.plan.num_shards):
        committed = read_commit(root, contents.metadata, shard)
        for name, record in committed.items():
            if contents.records[name] != record:
                raise StoreCorrupt(
                    f"{root / commit_name(shard)} and the manifest disagree on {name}: "
                    "copy the store again"
                )


def num_bytes_to_check(root: Root, subset: Subset) -> int:
    """About how many bytes `verify_store` reads with `data`: for a progress bar."""
    if isinstance(root, RemoteFolder):
        records = read_manifest(root, read_head(root))
        return sum(record.num_bytes for record in records.values()) // subset.parts
    names = [
        name for name in files_below(root) if name != HEAD and not name.startswith("manifest-")
    ]
    return sum((root / name).lstat().st_size for name in names) // subset.parts


def num_commits(records: Records) -> int:
    """How many shards are committed."""
    return sum(name.startswith(COMMITS) for name in records)
