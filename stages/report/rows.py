"""comparisons -> rows: each system with its interval and comparisons, for all tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.ranking import SHOWN_FACTS, describe
from stages.report.statistics.bootstrap import Interval
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.comparisons import Comparisons, Recovery
from stages.report.statistics.groups import SystemGroup
from storage.care.store_audit import StoreAudit


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A group of seeds, or one seed of it as a group of one."""

    group: SystemGroup
    group_name: str  # of one seed: the group that it belongs to
    details: str
    interval: Interval | None  # of the word error rate on test
    to_hard: Comparison | None = None
    to_ensemble: Comparison | None = None
    holm_to_hard: float | None = None
    recovery: Recovery | None = None
    bytes_per_frame: float | None = None  # of soft labels, in the train store
    is_chosen: bool = False


def group_rows(comparisons: Comparisons, *, store: StoreAudit | None = None) -> list[Row]:
    """A row for each group: members, ensemble, hard-label students, soft-label students by k.

    `store` is the audit of the train store; without it the bytes that k ranks take are unknown.
    """
    facts = distinguishing_facts(comparisons.groups)
    chosen = comparisons.chosen.key if comparisons.chosen else None
    return [
        Row(
            group=group,
            group_name=group.name,
            details=describe(group.first, facts),
            interval=comparisons.intervals.get(group.key),
            to_hard=comparisons.to_hard.get(group.key),
            to_ensemble=comparisons.to_ensemble.get(group.key),
            holm_to_hard=comparisons.holm_to_hard.get(group.key),
            recovery=comparisons.recoveries.get(group.key),
            bytes_per_frame=bytes_per_frame(store, group.k),
            is_chosen=group.key == chosen,
        )
        for group in comparisons.groups
    ]


def bytes_per_frame(store: StoreAudit | None, k: int | None) -> float | None:
    """Bytes that a reader of k ranks opens: tiers up to the one of rank k, whole."""
    if store is None or k is None:
        return None
    wide = [size for rank, size in store.bytes_per_frame.items() if rank >= k]
    return min(wide, default=None)


def seed_rows(comparisons: Comparisons) -> list[Row]:
    """A row for each result, in the order of the groups, each by seed."""
    return [
        Row(
            group=SystemGroup((result,), name=result.system.name),
            group_name=group.name,
            details=describe(result, SHOWN_FACTS),
            interval=comparisons.system_intervals.get(result.system.fingerprint),
        )
        for group in comparisons.groups
        for result in group.results
    ]


def distinguishing_facts(groups: Sequence[SystemGroup]) -> list[str]:
    """Architecture, and the facts in which students on soft labels differ."""
    students = [group.first.system.facts for group in groups if group.role == "soft-label student"]
    return [
        name
        for name in SHOWN_FACTS
        if name == "architecture"
        or (name != "seed" and len({str(getattr(facts, name)) for facts in students}) > 1)
    ]
