"""Planned comparisons: those that were fixed, by the names of both sides, before test was used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stages.report.statistics.comparison import Comparison
from stages.report.statistics.groups import SystemGroup
from stages.report.statistics.holm import holm


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One comparison of the plan.

    `comparison` is None while a side has not been evaluated; `missing` are the names of such sides.
    `p_holm` is the bootstrap's p after Holm's correction over all comparisons of the plan; those
    that are missing count as p = 1.
    """

    system: str
    rival: str
    missing: tuple[str, ...] = ()
    comparison: Comparison | None = None
    p_holm: float | None = None


def run_plan(
    plan: Sequence[tuple[str, str]],
    groups: Sequence[SystemGroup],
    compare: Callable[[SystemGroup, SystemGroup], Comparison],
) -> tuple[Planned, ...]:
    """Compare the named systems and rivals with each other, in the order of the plan."""
    by_name = {group.name: group for group in groups}
    found = {
        pair: compare(by_name[pair[0]], by_name[pair[1]])
        for pair in plan
        if pair[0] in by_name and pair[1] in by_name
    }
    corrected = holm(
        {
            f"{number}": found[pair].difference.p if pair in found else 1.0
            for number, pair in enumerate(plan)
        }
    )
    return tuple(
        Planned(
            system=pair[0],
            rival=pair[1],
            missing=tuple(name for name in pair if name not in by_name),
            comparison=found.get(pair),
            p_holm=corrected[f"{number}"] if pair in found else None,
        )
        for number, pair in enumerate(plan)
    )
