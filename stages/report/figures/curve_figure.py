"""curves -> picture: word error rate on test against the length of training."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from stages.report.drawing import MARKERS, WIDTH, legend_below, new_figure
from stages.report.figures.looks import lines_of
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.curves import Curve, curves_of, passes_of

MOST_CURVES = 12


def draw_curves(comparisons: Comparisons, *, labelled_share: float) -> Figure | None:
    """A line for each curve with its 95 % intervals; each in its family's colour."""
    known = comparisons.intervals.keys()
    curves = [
        curve
        for curve in curves_of(comparisons.groups)[:MOST_CURVES]
        if known >= {group.key for group in curve.groups}
    ]
    if not curves:
        return None
    figure = new_figure(width=WIDTH, height=3.6 + 0.2 * len(curves))
    axes = figure.subplots()
    ticks: set[float] = set()
    lines = lines_of([curve.first for curve in curves], comparisons)
    for number, (curve, (look, dash)) in enumerate(zip(curves, lines, strict=True)):
        passes, rates = _points(curve, labelled_share)
        ticks.update(passes)
        errors = [
            [
                100 * abs(getattr(comparisons.intervals[group.key], end) - rate / 100)
                for group, rate in zip(curve.groups, rates, strict=True)
            ]
            for end in ("low", "high")
        ]
        axes.errorbar(
            passes,
            rates,
            yerr=errors,
            color=look.colour,
            marker=MARKERS[number % len(MARKERS)],
            linestyle=dash,
            capsize=3,
            label=curve.name,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted(ticks), [f"{tick:.3g}" for tick in sorted(ticks)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("passes over all training speech")
    axes.set_ylabel("test WER (%)")
    axes.set_title("Error against length of training")
    legend_below(figure)
    return figure


def _points(curve: Curve, labelled_share: float) -> tuple[Sequence[float], Sequence[float]]:
    passes = [passes_of(group, labelled_share=labelled_share) for group in curve.groups]
    return passes, [100 * (group.word_error_rate("test") or 0.0) for group in curve.groups]
