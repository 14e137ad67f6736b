"""Columns of a comparison with a rival: difference with its interval, and p-values."""

from collections.abc import Callable

from stages.report.column import Cell, Column, column
from stages.report.formats import p_value, points, points_range
from stages.report.places import GROUPS, SYSTEMS
from stages.report.rows import Row
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.comparisons import LEVEL


def _difference_cell(found: Comparison) -> Cell:
    difference = found.difference
    return Cell(
        text=points(difference.delta),
        small=points_range(difference.interval),
        style="shown" if difference.p < LEVEL else "",
    )


def _p_cell(found: Comparison) -> Cell:
    return Cell(text=p_value(found.difference.p), small=p_value(found.segments.p))


def comparison_columns(
    rival: str, *, title: str, found: Callable[[Row], Comparison | None], on: tuple[str, ...]
) -> tuple[Column[Row], ...]:
    """Two cells of a comparison, and its numbers as fields of their own."""
    numbers: dict[str, Callable[[Comparison], str | float]] = {
        "rival": lambda c: c.rival.name,
        "delta": lambda c: c.difference.delta,
        "low": lambda c: c.difference.interval.low,
        "high": lambda c: c.difference.interval.high,
        "p": lambda c: c.difference.p,
        "p_mapsswe": lambda c: c.segments.p,
        "improvement": lambda c: c.difference.improvement,
    }

    def field(name: str, read: Callable[[Comparison], str | float]) -> Column[Row]:
        def value(row: Row) -> str | float | None:
            comparison = found(row)
            return None if comparison is None else read(comparison)

        return column(f"{rival}_{name}", value=value, on=(GROUPS,))

    return (
        *(field(name, read) for name, read in numbers.items()),
        column(rival, title=title, unit="test, points", value=found, shown=_difference_cell, on=on),
        column(
            f"{rival}_tests",
            title="p",
            unit="bootstrap, MAPSSWE",
            value=found,
            shown=_p_cell,
            on=(SYSTEMS,),
        ),
    )
