"""Transfer plan: the objects of a store that are to be moved. Pure: no byte is read here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from storage.contents.metadata import StoreMetadata
from storage.errors import StoreError
from storage.format.layout import (
    FrameArray,
    StoreAbout,
    count_arrays,
    log_norm_array,
    tier_arrays,
)
from storage.format.partial_copy import PartialCopy, Ranges, in_words, joined
from storage.format.records import ObjectRecord, Records
from storage.format.tiers import refuse_more_ranks, tier_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The objects that readers of these `ks` need, of these `shards`. Empty: all of them."""

    ks: tuple[int, ...] = ()
    shards: Ranges = ()

    @property
    def is_all(self) -> bool:
        """Is it the whole store?"""
        return not (self.ks or self.shards)


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferPlan:
    """`to_move` is not there yet, or differs. `part` is there afterwards; None: everything."""

    digest: str
    to_move: Records
    there: Records
    part: PartialCopy | None
    whole_bytes: int  # of all objects of the store

    @property
    def num_bytes(self) -> int:
        """Bytes to be moved."""
        return _num_bytes(self.to_move)

    @property
    def bytes_there(self) -> int:
        """Bytes of wanted objects that are there already."""
        return _num_bytes(self.there)


def plan_transfer(
    digest: str,
    records: Records,
    part: PartialCopy | None,
    *,
    is_there: Callable[[str, ObjectRecord], bool],
) -> TransferPlan:
    """The objects that are missing of those that `part` (None: all) has afterwards."""
    chosen = choose_objects(records, part)
    there = {name: record for name, record in chosen.items() if is_there(name, record)}
    return TransferPlan(
        digest=digest,
        to_move={name: record for name, record in chosen.items() if name not in there},
        there=there,
        part=part if len(chosen) < len(records) else None,
        whole_bytes=_num_bytes(records),
    )


def choose_objects(records: Records, part: PartialCopy | None) -> Records:
    """The objects that a copy holds; None: all."""
    return {name: record for name, record in records.items() if not part or part.holds(name)}


def part_afterwards(
    wanted: PartialCopy | None, *, is_sealed: bool, held: PartialCopy | None
) -> PartialCopy | None:
    """What a copy holds after `wanted` (None: all) was added to what it `held`."""
    if wanted is None or (is_sealed and held is None):
        return None
    return held.and_also(wanted) if held else wanted


def wanted_part(
    metadata: StoreMetadata, selection: Selection, *, digest: str, source: str
) -> PartialCopy | None:
    """The arrays and shards of a selection. None where it is the whole store.

    Raises:
        StoreError: when the store has no such rank or shard.
    """
    about, num_shards = metadata.about, metadata.plan.num_shards
    if selection.is_all:
        return None
    for k in selection.ks:
        refuse_more_ranks(source, k=k, kept=about.kept)
    shards = selection.shards or ((0, num_shards - 1),)
    if shards[-1][1] >= num_shards:
        raise StoreError(
            f"{source} has shards 0 to {num_shards - 1}, asked {in_words(shards)}: "
            "leave out those that it does not have"
        )
    names = sorted({array.name for array in _arrays(about, selection.ks)})
    return PartialCopy(
        source=source,
        digest=digest,
        kept=about.kept,
        arrays=dict.fromkeys(names, joined(shards)),
    )


def _arrays(about: StoreAbout, ks: Iterable[int]) -> Iterable[FrameArray]:
    """The arrays that a reader of each k opens: ids and codes up to its tier, its tail, counts.

    Log norms are included for every k: with them it is exact at another temperature.
    """
    for k in ks or range(1, about.kept + 1):
        last = tier_of(about.tiers, k)
        for tier in range(last + 1):
            yield from tier_arrays(about, tier)[:2]
        yield tier_arrays(about, last)[2]
    yield from count_arrays(about)
    yield from (log_norm_array(about, temperature) for temperature in about.temperatures)


def _num_bytes(records: Records) -> int:
    return sum(record.num_bytes for record in records.values())


def what_is_here(part: PartialCopy, about: StoreAbout) -> list[tuple[str, str]]:
    """(ranks, shards) that can be read of a partial copy: ("5-8", "0-3,7")."""
    rows = []
    for ranks in about.tiers:
        needed = [array.name for array in _arrays(about, [ranks.last])]
        shards = _shared([part.arrays.get(name, ()) for name in needed])
        if shards:
            rows.append((in_words(((ranks.first, ranks.last),)), in_words(shards)))
    return rows


def _shared(lists: list[Ranges]) -> Ranges:
    """The numbers that are in all lists."""
    result = lists[0]
    for ranges in lists[1:]:
        both = [
            (max(a, c), min(b, d)) for a, b in result for c, d in ranges if max(a, c) <= min(b, d)
        ]
        result = joined(both)
    return result
