"""Part: what of a store a partial copy holds, read from its part.json."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from storage.errors import StorePartial
from storage.files.object_file import is_there, read_whole
from storage.format.partial_copy import PART, PartialCopy, decode_part, in_words, joined

T = TypeVar("T")


def read_part(root: Path, name: str = PART) -> PartialCopy | None:
    """What a copy on disk holds; None where it is whole.

    Raises:
        StoreCorrupt: when the record is damaged.
    """
    if not is_there(root, name):
        return None
    return decode_part(read_whole(root, name), where=str(root / name))


def only_here(root: Path, records: Mapping[str, T]) -> dict[str, T]:
    """Those of a store's objects that this copy is to have, and those that it has besides.

    An addition that was killed has brought objects that part.json does not promise yet.
    """
    part = read_part(root)
    return {
        name: record
        for name, record in records.items()
        if part is None or part.holds(name) or is_there(root, name)
    }


def refuse_left_out(
    root: Path, part: PartialCopy, arrays: Iterable[str], *, shards: Iterable[int], k: int
) -> None:
    """Make sure that a partial copy has what a reader of k ranks opens of these shards.

    Raises:
        StorePartial: with the command that brings it.
    """
    names, missing = list(arrays), set[int]()
    for shard in set(shards):
        if not all(part.has(name, shard) for name in names):
            missing.add(shard)
    if not missing:
        return
    held = joined(pair for ranges in part.arrays.values() for pair in ranges)
    absent = joined((shard, shard) for shard in missing)
    all_here = joined((*held, *absent)) == held  # these shards are here, less deep
    chosen = held if all_here else absent
    raise StorePartial(
        f"{root} is a partial copy, without k={k} of shards {in_words(absent)}: run "
        f"'essence cache pull --k {k} --shards {in_words(chosen)} {shlex.quote(part.source)} "
        f"{shlex.quote(str(root))}' to add that, or without options to add all that was left out"
    )
