"""frame qualities -> pictures: fidelity to the teacher against word errors; gradients against k."""

import math
from collections.abc import Callable

from matplotlib.figure import Figure

from stages.report.drawing import PAPER, WIDTH, legend_below, new_figure, ranks_along_x
from stages.report.figures.looks import look_of, named_groups
from stages.report.frame_means import agreement, divergence, gradient_curve, hard_label_match
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup
from storage.format.tiers import ranks_to_show


def draw_agreement(comparisons: Comparisons) -> Figure | None:
    """Agreement with the teacher against the dev word error rate, a dot for each group."""
    figure = _scatter(comparisons, lambda group: _percent(agreement(group)))
    if figure is not None:
        figure.axes[0].set_xlabel("frames with the teacher's best class (%)")
        figure.axes[0].set_title("Agreement: right is closer to the teacher")
    return figure


def draw_divergence(comparisons: Comparisons) -> Figure | None:
    """Divergence from the teacher against the dev word error rate, a dot for each group."""
    figure = _scatter(comparisons, divergence)
    if figure is not None:
        figure.axes[0].set_xlabel("KL(teacher || system), nats per frame")
        figure.axes[0].set_title("Divergence: left is closer to the teacher")
    return figure


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _scatter(
    comparisons: Comparisons, measure: Callable[[SystemGroup], float | None]
) -> Figure | None:
    """None if the measure of no group is known; the ensemble is the teacher, and left out."""
    known = [
        (group, value, rate)
        for group in comparisons.groups
        if group.role != "ensemble"
        and (value := measure(group)) is not None
        and (rate := group.word_error_rate("dev")) is not None
    ]
    if not known:
        return None
    figure = new_figure(width=WIDTH, height=4.3)
    axes = figure.subplots()
    for group, value, rate in known:
        look = look_of(group, comparisons)
        axes.plot(
            value,
            100 * rate,
            look.marker,
            color=look.colour,
            markeredgecolor=PAPER,
            markersize=8,
            label=look.plural,
        )
    axes.set_ylabel("dev word error rate (%)")
    legend_below(figure)
    return figure


def draw_gradients(comparisons: Comparisons) -> Figure | None:
    """Angle between the gradients of k ranks and of all that is kept, at the trained students."""
    students = [named for named in named_groups(comparisons) if named.group.role != "ensemble"]
    curves = [(named, curve) for named in students if (curve := gradient_curve(named.group))]
    if not curves:
        return None
    figure = new_figure(width=WIDTH, height=4.4)
    axes = figure.subplots()
    for named, curve in curves:
        axes.plot(
            list(curve),
            [degrees(match.overall) for match in curve.values()],
            color=named.look.colour,
            linestyle=named.dash,
            marker=named.look.marker,
            label=f"k ranks, at {named.label}",
        )
        if hard := hard_label_match(named.group):
            axes.axhline(
                degrees(hard.overall),
                color=named.look.colour,
                linestyle=":",
                label=f"hard labels, at {named.label}",
            )
    ks = sorted({k for _, curve in curves for k in curve})
    ranks_along_x(axes, ks)
    ticks = ranks_to_show(ks[-1])  # a student's own k may lie between two of them
    axes.set_xticks(ticks, [str(k) for k in ticks])
    axes.set_ylim(bottom=0)
    axes.set_ylabel("angle to the full gradient (degrees)")
    axes.set_title("Gradient of k ranks vs. all that is kept")
    legend_below(figure)
    return figure


def degrees(cosine: float) -> float:
    """The angle of a cosine."""
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
