"""training histories -> pictures: train loss and dev frame error, epoch by epoch."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.report.drawing import FAINT, WIDTH, legend_below, new_figure
from stages.report.figures.looks import lines_of, named_groups
from stages.report.histories import History
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup, best_on_dev, of_role

MOST_DOTS = 40  # epochs; dots of more would overlap
MOST_NAMED = 8  # drawn with a name; the others are grey
Line = list[tuple[int, float]]  # epoch, value


def draw_losses(comparisons: Comparisons, histories: Mapping[str, History]) -> Figure | None:
    """Training loss of each group, the mean over its seeds; None if no history is known."""
    figure = _draw(comparisons, histories, _loss)
    if figure is not None:
        figure.axes[0].set_title("Training loss")
        figure.axes[0].set_ylabel("nats per frame")
    return figure


def draw_frame_errors(comparisons: Comparisons, histories: Mapping[str, History]) -> Figure | None:
    """Frame error on dev of each group, the mean over its seeds; None if no history is known."""
    figure = _draw(comparisons, histories, _frame_error)
    if figure is not None:
        figure.axes[0].set_title("Frame error on dev")
        figure.axes[0].set_ylabel("wrong frames (%)")
    return figure


def _draw(
    comparisons: Comparisons,
    histories: Mapping[str, History],
    line_of: Callable[[Sequence[History]], Line],
) -> Figure | None:
    trained = [group for group in comparisons.groups if _known(group, histories)]
    if not trained:
        return None
    named = _named(trained, comparisons)
    looks = dict(zip([group.key for group in named], lines_of(named, comparisons), strict=True))
    figure = new_figure(width=WIDTH, height=3.6 + 0.2 * len(named))
    axes = figure.subplots()
    # Named groups are drawn on top.
    for group in sorted(trained, key=lambda group: group.key in looks):
        known = _known(group, histories)
        places = zip(*line_of(known), strict=True)
        if group.key not in looks:
            axes.plot(*places, color=FAINT, linewidth=0.8)
            continue
        look, dash = looks[group.key]
        marker = "." if max(map(len, known)) < MOST_DOTS else ""
        axes.plot(*places, color=look.colour, linestyle=dash, marker=marker, label=_label(group))
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_below(figure)
    return figure


def _known(group: SystemGroup, histories: Mapping[str, History]) -> list[History]:
    names = [result.system.name for result in group.results]
    return [histories[name] for name in names if name in histories]


def _label(group: SystemGroup) -> str:
    return f"{group.name} (mean of {len(group.results)})" if len(group.results) > 1 else group.name


def _named(trained: Sequence[SystemGroup], comparisons: Comparisons) -> Sequence[SystemGroup]:
    """Baseline, chosen and members first, then those that are best on dev."""
    if len(trained) <= MOST_NAMED:
        return trained
    first = {named.group.key for named in named_groups(comparisons)}
    left = [group for group in trained if group.key not in first]
    picked = [group for group in trained if group.key in first]
    members = of_role(left, "member")[: MOST_NAMED - len(picked)]
    picked += members
    left = [group for group in left if group not in members]
    while left and len(picked) < MOST_NAMED and (best := best_on_dev(left)):
        picked.append(best)
        left.remove(best)
    keys = {group.key for group in picked}
    return [group for group in trained if group.key in keys]


def _loss(histories: Sequence[History]) -> Line:
    return _mean([{row.epoch: row.train_loss for row in history} for history in histories])


def _frame_error(histories: Sequence[History]) -> Line:
    return _mean([{row.epoch: 100 * row.dev_frame_error for row in one} for one in histories])


def _mean(curves: Sequence[Mapping[int, float]]) -> Line:
    """The mean at each epoch, over the seeds that reached it."""
    epochs = sorted({epoch for curve in curves for epoch in curve})
    values = [[curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
    return [(epoch, sum(v) / len(v)) for epoch, v in zip(epochs, values, strict=True)]
