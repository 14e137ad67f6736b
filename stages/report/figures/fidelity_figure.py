"""frame qualities -> pictures: fidelity to the teacher against word errors; gradients against k."""

import math
from collections.abc import Callable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stages.report.drawing import new_figure, ranks_along_x
from stages.report.figures.looks import look_of, named_groups
from stages.report.frame_means import agreement, divergence, gradient_curve, hard_label_match
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup
from storage.format.tiers import ranks_to_show


def draw_fidelity(comparisons: Comparisons) -> Figure | None:
    """Agreement and divergence, each against the dev word error rate, one dot per group."""
    apart = [group for group in comparisons.groups if group.role != "ensemble"]
    if not any(agreement(group) is not None for group in apart):
        return None
    figure = new_figure(width=10, height=4.3)
    left, right = figure.subplots(1, 2)
    _scatter(left, comparisons, lambda group: _percent(agreement(group)))
    left.set_xlabel("frames with the teacher's most probable class (%)")
    left.set_title("Agreement: right is closer to the teacher")
    _scatter(right, comparisons, divergence)
    right.set_xlabel("KL(teacher || system), nats per frame")
    right.set_title("Divergence: left is closer to the teacher")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _scatter(
    axes: Axes, comparisons: Comparisons, measure: Callable[[SystemGroup], float | None]
) -> None:
    seen = set()
    for group in comparisons.groups:
        value, rate = measure(group), group.word_error_rate("dev")
        if group.role == "ensemble" or value is None or rate is None:
            continue
        look = look_of(group, comparisons)
        axes.plot(
            value,
            100 * rate,
            look.marker,
            color=look.colour,
            markeredgecolor="white",
            markersize=8,
            label=None if look.plural in seen else look.plural,
        )
        seen.add(look.plural)
    axes.set_ylabel("dev word error rate (%)")


def draw_gradients(comparisons: Comparisons) -> Figure | None:
    """Angle between the gradients of k ranks and of all that is kept, at the trained students."""
    students = [named for named in named_groups(comparisons) if named.group.role != "ensemble"]
    curves = [(named, curve) for named in students if (curve := gradient_curve(named.group))]
    if not curves:
        return None
    figure = new_figure(width=6.5, height=4.4)
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
    axes.set_title("Gradient of k ranks vs. all ranks and tail, dev")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    return figure


def degrees(cosine: float) -> float:
    """The angle of a cosine."""
    return math.degrees(math.acos(min(1.0, max(-1.0, cosine))))
