"""comparisons, store figures -> pictures: word errors against bytes, and against parameters."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from stages.report.drawing import GREY, PAPER, WIDTH, legend_below, new_figure
from stages.report.figures.looks import CHOSEN, look_of, named_groups
from stages.report.rows import bytes_per_frame
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup
from storage.care.store_audit import StoreAudit

Point = tuple[float, float]  # cost, word error rate in per cent


def draw_bytes_cost(comparisons: Comparisons, store: StoreAudit | None) -> Figure | None:
    """Test WER against the bytes per frame that k ranks open in the train store."""
    known = _points([(group, bytes_per_frame(store, group.k)) for group in comparisons.groups])
    figure = _draw(known, comparisons)
    if figure is not None:
        axes = figure.axes[0]
        axes.set_title("Bytes of soft labels")
        axes.set_xlabel("bytes per frame that k ranks open (log scale)")
        _draw_rivals(axes, comparisons)
    return figure


def draw_parameter_cost(comparisons: Comparisons) -> Figure | None:
    """Test WER against the number of parameters."""
    sizes = [(group, group.first.evaluation.num_parameters) for group in comparisons.groups]
    figure = _draw(_points(sizes), comparisons)
    if figure is not None:
        figure.axes[0].set_title("Parameters")
        figure.axes[0].set_xlabel("parameters (log scale)")
    return figure


def front(points: Sequence[Point]) -> list[Point]:
    """The Pareto front: with rising cost, fewer errors."""
    best: list[Point] = []
    for cost, rate in sorted(points):
        if not best or rate < best[-1][1]:
            best.append((cost, rate))
    return best


def _points(
    found: Sequence[tuple[SystemGroup, float | int | None]],
) -> list[tuple[SystemGroup, Point]]:
    return [
        (group, (float(cost), 100 * rate))
        for group, cost in found
        if cost is not None and (rate := group.word_error_rate("test")) is not None
    ]


def _draw(points: Sequence[tuple[SystemGroup, Point]], comparisons: Comparisons) -> Figure | None:
    """A dot for each group, and the Pareto front as steps; None without a point."""
    if not points:
        return None
    figure = new_figure(width=WIDTH, height=4.3)
    axes = figure.subplots()
    stair = front([point for _, point in points])
    axes.step(*zip(*stair, strict=True), where="post", color=GREY, linewidth=1, zorder=1)
    for group, (cost, rate) in points:
        look = look_of(group, comparisons)
        is_chosen = look is CHOSEN
        axes.plot(
            cost,
            rate,
            look.marker,
            color=look.colour,
            markeredgecolor=PAPER,
            markersize=9 if is_chosen else 7,
            zorder=4 if is_chosen else 2 if group.role == "soft-label student" else 3,
            label=look.plural,
        )
    costs = [cost for _, (cost, _) in points]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 1.4, max(costs) * 1.4)
    ticks = _ticks(costs)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("test word error rate (%)")
    legend_below(figure)
    return figure


def _draw_rivals(axes: Axes, comparisons: Comparisons) -> None:
    """Systems that read no soft labels have no bytes: horizontal lines."""
    for named in named_groups(comparisons)[:-1] if comparisons.chosen else ():
        rate = named.group.word_error_rate("test")
        if rate is not None:
            axes.axhline(
                100 * rate, color=named.look.colour, linestyle=named.dash, linewidth=1.2, zorder=0
            )


def _ticks(costs: Sequence[float]) -> list[float]:
    """The costs, without those that are too close to the one before."""
    ticks: list[float] = []
    for cost in sorted(set(costs)):
        if not ticks or cost > 1.6 * ticks[-1]:
            ticks.append(cost)
    return ticks


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.3g}"
