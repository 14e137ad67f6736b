"""comparisons, store figures -> picture: word errors against bytes, and against parameters."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from stages.report.drawing import new_figure
from stages.report.figures.looks import LOOKS, look_of, named_groups
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup
from storage.care.store_audit import StoreAudit

Point = tuple[float, float]  # cost, word error rate in per cent


def draw_pareto(comparisons: Comparisons, store: StoreAudit | None) -> Figure | None:
    """Two panels: bytes per frame that k ranks open in the train store, and parameters.

    The Pareto front is drawn as steps.
    """
    by_bytes = [
        (group, bytes_of(store, group.k))
        for group in comparisons.groups
        if store is not None and group.k is not None
    ]
    by_size = [(group, group.first.evaluation.num_parameters) for group in comparisons.groups]
    panels = [
        (title, label, points)
        for title, label, found in (
            ("Bytes of soft labels", "bytes per frame that k ranks open (log scale)", by_bytes),
            ("Parameters", "parameters (log scale)", by_size),
        )
        if (points := _points(found))
    ]
    if not panels:
        return None
    figure = new_figure(width=5 * len(panels) + 0.5, height=4.3)
    for axes, (title, label, points) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        _draw_panel(axes, points, comparisons)
        axes.set_title(title)
        axes.set_xlabel(label)
        axes.set_ylabel("test word error rate (%)")
        if points is panels[0][2] and len(panels) > 1:
            _draw_rivals(axes, comparisons)
    handles = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return figure


def bytes_of(store: StoreAudit, k: int) -> float | None:
    """Bytes per frame that a reader of k ranks opens: tiers up to the one of rank k, whole."""
    wide = [size for rank, size in store.bytes_per_frame.items() if rank >= k]
    return min(wide, default=None)


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


def _draw_panel(
    axes: Axes, points: Sequence[tuple[SystemGroup, Point]], comparisons: Comparisons
) -> None:
    stair = front([point for _, point in points])
    axes.step(*zip(*stair, strict=True), where="post", color="#999999", linewidth=1, zorder=1)
    for group, (cost, rate) in points:
        look = look_of(group, comparisons)
        is_chosen = look is not LOOKS[group.role]
        axes.plot(
            cost,
            rate,
            look.marker,
            color=look.colour,
            markeredgecolor="white",
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
