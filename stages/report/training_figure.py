"""training histories -> picture: train loss and dev frame error, epoch by epoch."""

from collections.abc import Iterator, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.report.drawing import BLACK, SERIES, new_figure
from stages.report.histories import History
from stages.report.ranking import in_order, role_of
from stages.speech.results import SystemResult

LEGEND_COLUMNS = 4
MOST_DOTS = 40  # epochs; with more, dots run together
COLOURS = [colour for colour in SERIES if colour != BLACK]
HARD_DASHES = ("-", ":", "-.")


def draw_training(
    results: Sequence[SystemResult], histories: Mapping[str, History]
) -> Figure | None:
    """Two panels with one line a model: members dashed, hard labels black, essence in colours."""
    trained = [result for result in in_order(results) if result.system.name in histories]
    if not trained:
        return None
    legend_rows = -(-len(trained) // LEGEND_COLUMNS)
    figure = new_figure(width=10, height=4 + 0.25 * legend_rows)
    loss_axes, error_axes = figure.subplots(1, 2)
    for result, (colour, dash) in zip(trained, _looks(trained), strict=True):
        history = histories[result.system.name]
        epochs = [row.epoch for row in history]
        marker = "." if len(history) < MOST_DOTS else ""
        for axes, values in (
            (loss_axes, [row.train_loss for row in history]),
            (error_axes, [100 * row.dev_frame_error for row in history]),
        ):
            label = result.system.name if axes is loss_axes else None
            axes.plot(epochs, values, color=colour, linestyle=dash, marker=marker, label=label)
    loss_axes.set_title("Training loss")
    loss_axes.set_ylabel("nats a frame")
    error_axes.set_title("Frame error on dev")
    error_axes.set_ylabel("wrong frames (%)")
    for axes in (loss_axes, error_axes):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS)
    return figure


def _looks(trained: Sequence[SystemResult]) -> Iterator[tuple[str, str]]:
    """(colour, dash) of each; a second round of the colours is dotted."""
    used: dict[str, int] = {}
    for result in trained:
        role = role_of(result)
        number = used.setdefault(role, 0)
        used[role] += 1
        if role == "hard-label student":
            yield BLACK, HARD_DASHES[number % len(HARD_DASHES)]
        else:
            first = "--" if role == "member" else "-"
            yield COLOURS[number % len(COLOURS)], (first if number < len(COLOURS) else ":")
