"""comparisons -> table: one row a group of seeds, as the page shows it and as groups.csv."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.frame_means import agreement, divergence, expected_error, real_time_factor
from stages.report.headline import p_value, points
from stages.report.ranking import SHOWN_FACTS, describe
from stages.report.statistics.comparisons import LEVEL, Comparison, Comparisons
from stages.report.statistics.groups import SystemGroup, mean_known

DASH = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRow:
    """A group in figures: means over its seeds. Rates are fractions; None is unknown.

    Of a comparison: ours minus theirs, below zero is better.
    """

    group: str
    kind: str
    details: str
    k: int | None
    seeds: str
    num_seeds: int
    is_chosen: bool
    parameters: int | None
    frame_error_dev: float | None
    cross_entropy_dev: float | None  # nats a frame
    wer_dev: float | None
    wer_test: float | None
    wer_test_low: float | None  # 95 % interval over speakers and seeds
    wer_test_high: float | None
    hard_rival: str | None
    hard_delta: float | None
    hard_low: float | None
    hard_high: float | None
    hard_p: float | None  # bootstrap
    hard_p_mapsswe: float | None
    hard_improvement: float | None  # probability
    ensemble_delta: float | None
    ensemble_low: float | None
    ensemble_high: float | None
    ensemble_p: float | None
    ensemble_p_mapsswe: float | None
    ensemble_improvement: float | None
    calibration_error: float | None
    agreement: float | None
    divergence: float | None
    real_time_factor: float | None
    key: str


def make_group_rows(comparisons: Comparisons) -> list[GroupRow]:
    """Rows in order: members, ensemble, hard-label students, essence students by k."""
    facts = telling_facts(comparisons.groups)
    return [_row(group, comparisons, facts=facts) for group in comparisons.groups]


def telling_facts(groups: Sequence[SystemGroup]) -> list[str]:
    """Architecture, and what tells the essence students apart: the rest would be noise."""
    students = [group.first.system.facts for group in groups if group.role == "essence student"]
    return [
        name
        for name in SHOWN_FACTS
        if name == "architecture"
        or (name != "seed" and len({str(getattr(facts, name)) for facts in students}) > 1)
    ]


def _row(group: SystemGroup, comparisons: Comparisons, *, facts: Sequence[str]) -> GroupRow:
    interval = comparisons.intervals.get(group.key)
    hard, ensemble = (
        found.get(group.key) for found in (comparisons.to_hard, comparisons.to_ensemble)
    )
    return GroupRow(
        group=group.name,
        kind=group.role,
        details=describe(group.first, facts),
        k=group.k,
        seeds=" ".join(map(str, group.seeds)),
        num_seeds=len(group.results),
        is_chosen=bool(comparisons.chosen and comparisons.chosen.key == group.key),
        parameters=group.first.evaluation.num_parameters,
        frame_error_dev=group.frame_error,
        cross_entropy_dev=mean_known([split.cross_entropy for split in group.splits("dev")]),
        wer_dev=group.word_error_rate("dev"),
        wer_test=group.word_error_rate("test"),
        wer_test_low=interval.low if interval else None,
        wer_test_high=interval.high if interval else None,
        hard_rival=hard.rival.name if hard else None,
        hard_delta=hard.difference.delta if hard else None,
        hard_low=hard.difference.interval.low if hard else None,
        hard_high=hard.difference.interval.high if hard else None,
        hard_p=hard.difference.p if hard else None,
        hard_p_mapsswe=hard.segments.p if hard else None,
        hard_improvement=hard.difference.improvement if hard else None,
        ensemble_delta=ensemble.difference.delta if ensemble else None,
        ensemble_low=ensemble.difference.interval.low if ensemble else None,
        ensemble_high=ensemble.difference.interval.high if ensemble else None,
        ensemble_p=ensemble.difference.p if ensemble else None,
        ensemble_p_mapsswe=ensemble.segments.p if ensemble else None,
        ensemble_improvement=ensemble.difference.improvement if ensemble else None,
        calibration_error=expected_error(group),
        agreement=agreement(group),
        divergence=divergence(group),
        real_time_factor=real_time_factor(group),
        key=group.key,
    )


@dataclass(frozen=True, slots=True)
class Versus:
    """A comparison as it stands in two cells. `is_shown`: p is below LEVEL."""

    delta: str
    interval: str
    p: str
    p_mapsswe: str
    is_shown: bool


def versus(comparison: Comparison | None) -> Versus | None:
    """In words; None where there is nothing to compare."""
    if comparison is None:
        return None
    found = comparison.difference
    return Versus(
        delta=points(found.delta),
        interval=f"{points(found.interval.low)} to {points(found.interval.high)}",
        p=p_value(found.p),
        p_mapsswe=p_value(comparison.segments.p),
        is_shown=found.p < LEVEL,
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a cell. `is_best` where no other group has a smaller number."""

    text: str
    is_best: bool = False


def cells(rows: Sequence[GroupRow], column: str, *, scale: float, digits: int) -> list[Cell]:
    """The cells of a column where less is better; the smallest *shown* number is best."""
    values = [getattr(row, column) for row in rows]
    shown = [None if v is None else round(scale * v, digits) for v in values]
    best = min((v for v in shown if v is not None), default=None)
    return [
        Cell(DASH if v is None else f"{v:.{digits}f}", v is not None and v == best) for v in shown
    ]


def interval_text(row: GroupRow) -> str:
    """`10.02 to 12.40`, in per cent."""
    if row.wer_test_low is None or row.wer_test_high is None:
        return DASH
    return f"{100 * row.wer_test_low:.2f} to {100 * row.wer_test_high:.2f}"
