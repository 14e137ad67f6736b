"""comparisons -> picture: the difference of each group vs. hard labels, with its interval."""

from textwrap import fill

from matplotlib.figure import Figure

from stages.report.drawing import GREY, PAPER, WIDTH, new_figure
from stages.report.figures.looks import look_of
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.comparisons import LEVEL, Comparisons

MOST_ROWS = 40  # if there are more, the best on dev are shown
LINE_INCHES = 0.24
NAME_LINE = 20  # characters of a name in a line


def draw_differences(comparisons: Comparisons) -> Figure | None:
    """One row per group, in the order of the table; left of the line is better."""
    shown = rows_of_figure(comparisons)
    if not shown:
        return None
    names = [fill(f"{c.group.name} ({len(c.group.results)})", NAME_LINE) for c in shown]
    most_lines = max(name.count("\n") + 1 for name in names)
    figure = new_figure(width=WIDTH, height=1.1 + LINE_INCHES * len(shown) * most_lines)
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linewidth=1.2)
    for row, comparison in enumerate(shown):
        look = look_of(comparison.group, comparisons)
        found = comparison.difference
        low, high = 100 * found.interval.low, 100 * found.interval.high
        axes.plot([low, high], [row, row], color=look.colour, linewidth=2)
        axes.plot(
            100 * found.delta,
            row,
            color=look.colour,
            marker=look.marker,
            markersize=7,
            markerfacecolor=look.colour if found.p < LEVEL else PAPER,
        )
    axes.set_yticks(range(len(shown)), names, fontsize=9)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("test WER, points vs. hard labels")
    axes.set_title("Difference vs. hard labels: left is better")
    return figure


def rows_of_figure(comparisons: Comparisons) -> list[Comparison]:
    """In the order of the groups; at most MOST_ROWS, those with the lowest dev word error rate."""
    rows = [
        comparisons.to_hard[group.key]
        for group in comparisons.groups
        if group.key in comparisons.to_hard
    ]
    if len(rows) <= MOST_ROWS:
        return rows
    by_dev = sorted(rows, key=lambda c: c.group.word_error_rate("dev") or 0.0)
    best = {comparison.group.key for comparison in by_dev[:MOST_ROWS]}
    return [row for row in rows if row.group.key in best]
