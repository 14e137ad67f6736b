"""training histories -> picture: train loss and dev frame error, epoch by epoch."""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.report.drawing import BLACK, BLUE, ORANGE, SERIES, new_figure
from stages.report.figures.looks import named_groups
from stages.report.histories import History
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup, best_on_dev, of_role

LEGEND_COLUMNS = 3
MOST_DOTS = 40  # epochs; dots of more would overlap
MOST_NAMED = 8  # drawn with a name; the others are grey
COLOURS = [colour for colour in SERIES if colour not in (BLACK, BLUE, ORANGE)]
Line = list[tuple[int, float]]  # epoch, value


def draw_training(comparisons: Comparisons, histories: Mapping[str, History]) -> Figure | None:
    """Two panels, a line for each group (mean of its seeds): members dashed, hard labels black."""
    trained = [group for group in comparisons.groups if _known(group, histories)]
    if not trained:
        return None
    named = _named(trained, comparisons)
    looks = dict(zip([group.key for group in named], _looks(named, comparisons), strict=True))
    figure = new_figure(width=10, height=4 + 0.25 * -(-len(named) // LEGEND_COLUMNS))
    panels = figure.subplots(1, 2)
    for group in sorted(
        trained, key=lambda group: group.key in looks
    ):  # named groups are drawn on top
        colour, dash = looks.get(group.key, ("#d0d0d0", "-"))
        known = _known(group, histories)
        marker = "." if max(map(len, known)) < MOST_DOTS and group.key in looks else ""
        for axes, line in zip(panels, (_loss(known), _frame_error(known)), strict=True):
            label = _label(group) if axes is panels[0] and group.key in looks else None
            axes.plot(
                *zip(*line, strict=True),
                color=colour,
                linestyle=dash,
                marker=marker,
                linewidth=1.8 if group.key in looks else 0.8,
                label=label,
            )
    panels[0].set_title("Training loss")
    panels[0].set_ylabel("nats per frame")
    panels[1].set_title("Frame error on dev")
    panels[1].set_ylabel("wrong frames (%)")
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS)
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


def _looks(named: Sequence[SystemGroup], comparisons: Comparisons) -> Iterator[tuple[str, str]]:
    chosen, baseline = comparisons.chosen, comparisons.baseline
    number = 0
    for group in named:
        if chosen and group.key == chosen.key:
            yield BLUE, "-"
        elif baseline and group.key == baseline.key:
            yield BLACK, "-"
        else:
            colour = COLOURS[number % len(COLOURS)]
            first = "--" if group.role == "member" else "-"
            yield colour, first if number < len(COLOURS) else ":"
            number += 1


def _loss(histories: Sequence[History]) -> Line:
    return _mean([{row.epoch: row.train_loss for row in history} for history in histories])


def _frame_error(histories: Sequence[History]) -> Line:
    return _mean([{row.epoch: 100 * row.dev_frame_error for row in one} for one in histories])


def _mean(curves: Sequence[Mapping[int, float]]) -> Line:
    """The mean at each epoch, over the seeds that reached it."""
    epochs = sorted({epoch for curve in curves for epoch in curve})
    values = [[curve[epoch] for curve in curves if epoch in curve] for epoch in epochs]
    return [(epoch, sum(v) / len(v)) for epoch, v in zip(epochs, values, strict=True)]
