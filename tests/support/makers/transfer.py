"""Makers of transfers: a store to copy, copies of it, and what is compared of them."""

from pathlib import Path

from storage.transfer.copy import Moved, carry_out, choose, survey
from storage.transfer.local_target import LocalTarget
from storage.transfer.plan import EVERYTHING, Selection, TransferPlan
from storage.transfer.source import Source, open_source
from storage.transfer.target import Target
from tests.support.makers.store import fill_store, make_about
from tests.support.stores import head_of

LENGTHS = (70, 0, 190, 33, 400, 1, 250, 80, 0, 300)  # ten utterances in four shards
KEPT = 40


def make_store(path: Path, **changes: object) -> str:
    """A small sealed store of six tiers. Returns its digest."""
    about = make_about(
        **{"kept": KEPT, "num_classes": 61, "shard_frames": 615, "chunk_frames": 205} | changes
    )
    return fill_store(path, about, LENGTHS)


def files_of(root: Path) -> dict[str, bytes]:
    """All files below a folder."""
    names = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in names}


def copy(
    source: Source | Path | str,
    target: Target | Path,
    selection: Selection = EVERYTHING,
    *,
    num_threads: int = 3,
    careful: bool = True,
) -> tuple[TransferPlan, list[Moved]]:
    """Copy, and say what was planned and what came."""
    source = source if isinstance(source, Source) else open_source(source)
    if isinstance(target, Path):
        place = LocalTarget(target)
        with place.locked():
            return copy(source, place, selection, num_threads=num_threads, careful=careful)
    plan = survey(source, target, choose(source, target, selection), careful=careful)
    return plan, list(carry_out(plan, source, target, num_threads=num_threads))


def same_store(root: Path, other: Path) -> bool:
    """Are all files the same, and is it sealed?"""
    return files_of(root) == files_of(other) and bool(head_of(root))
