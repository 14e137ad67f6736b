"""Part: what of a store a partial copy holds, read from its part.json."""

import shlex
from collections.abc import Iterable

from storage.errors import StoreCorrupt, StorePartial
from storage.files.object_file import MAX_OBJECT_BYTES
from storage.format.partial_copy import PART, PartialCopy, decode_part, in_words, joined
from storage.format.records import Records
from storage.place.place import Place


def read_part(place: Place, name: str = PART) -> PartialCopy | None:
    """What a copy holds; None if it is whole.

    Raises:
        StoreCorrupt: when the record is damaged.
        StoreUnreachable: when the system or the server does not let us read.
    """
    content = place.peek(name, MAX_OBJECT_BYTES)
    return None if content is None else decode_part(content, where=place.where(name))


def read_part_of(place: Place, digest: str) -> PartialCopy | None:
    """As `read_part`, of the store with this digest.

    Raises:
        StoreCorrupt: also when the record is that of a copy of another store.
    """
    part = read_part(place)
    if part is not None and part.digest != digest:
        raise StoreCorrupt(
            f"{place.where(PART)} is of the store {part.digest}, HEAD of {digest}: remove this "
            "file, then pull what you need again"
        )
    return part


def records_here(place: Place, part: PartialCopy | None, records: Records) -> Records:
    """The records of the objects that a copy must hold, and of those it holds in addition.

    An addition that was killed has brought objects that part.json does not promise yet.
    """
    if part is None:
        return records
    found = place.sizes()
    return {name: r for name, r in records.items() if part.holds(name) or name in found}


def refuse_left_out(
    place: Place, part: PartialCopy, arrays: Iterable[str], *, shards: Iterable[int], k: int
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
    all_here = joined((*held, *absent)) == held  # these shards are here, with fewer ranks
    chosen = held if all_here else absent
    raise StorePartial(
        f"{place} is a partial copy, without k={k} of shards {in_words(absent)}: run "
        f"'essence cache pull --k {k} --shards {in_words(chosen)} {shlex.quote(part.source)} "
        f"{shlex.quote(str(place))}' to add that, or without options to add all that was left out"
    )
