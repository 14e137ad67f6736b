"""Columns of the planned comparisons, for the page and Markdown."""

from collections.abc import Callable
from typing import TypeVar

from stages.report.column import Cell, Column, column
from stages.report.formats import p_value, percent, points, points_range
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.comparisons import LEVEL
from stages.report.statistics.groups import SystemGroup
from stages.report.statistics.planned import Planned

V = TypeVar("V")


def _difference(comparison: Comparison) -> Cell:
    found = comparison.difference
    return Cell(
        text=points(found.delta),
        small=points_range(found.interval),
        style="shown" if found.p < LEVEL else "",
    )


def _runs(comparison: Comparison) -> str:
    def count(group: SystemGroup) -> str:
        design = group.design
        of = f" of {design.num_ensembles} ensembles" if group.is_of_ensembles else ""
        return f"{design.num_runs}{of}"

    return f"{count(comparison.group)}, {count(comparison.rival)}"


def _of(value: Callable[[Comparison], V | None]) -> Callable[[Planned], V | None]:
    """The value of a row's comparison; None while a side has not been evaluated."""
    return lambda row: None if row.comparison is None else value(row.comparison)


PLANNED_COLUMNS: tuple[Column[Planned], ...] = (
    column("system", title="System", value=lambda row: row.system, is_text=True),
    column("rival", title="Rival", value=lambda row: row.rival, is_text=True),
    column(
        "missing",
        title="Not evaluated",
        value=lambda row: ", ".join(row.missing) or None,
        is_text=True,
        is_optional=True,
    ),
    column(
        "wer",
        title="WER test",
        unit="system, %",
        value=_of(lambda found: found.group.word_error_rate("test")),
        shown=percent,
    ),
    column(
        "wer_rival",
        title="WER test",
        unit="rival, %",
        value=_of(lambda found: found.rival.word_error_rate("test")),
        shown=percent,
    ),
    column(
        "difference",
        title="Difference",
        unit="points, 95 %",
        value=lambda row: row.comparison,
        shown=_difference,
    ),
    column(
        "p",
        title="p",
        unit="bootstrap",
        value=_of(lambda found: found.difference.p),
        shown=p_value,
    ),
    column("p_holm", title="p", unit="Holm", value=lambda row: row.p_holm, shown=p_value),
    column(
        "p_mapsswe",
        title="p",
        unit="MAPSSWE",
        value=_of(lambda found: found.segments.p),
        shown=p_value,
    ),
    column(
        "runs",
        title="Runs",
        unit="system, rival",
        value=lambda row: row.comparison,
        shown=_runs,
    ),
)
