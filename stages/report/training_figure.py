"""training histories -> picture: train loss and dev frame error, epoch by epoch."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stages.report.drawing import DASHES, SERIES, new_figure
from stages.report.histories import History

LEGEND_COLUMNS = 4


def draw_training(histories: Mapping[str, History]) -> Figure | None:
    """Two panels with one line a model; None where nothing was trained."""
    if not histories:
        return None
    legend_rows = -(-len(histories) // LEGEND_COLUMNS)
    figure = new_figure(width=10, height=4 + 0.25 * legend_rows)
    loss_axes, error_axes = figure.subplots(1, 2)
    for number, (name, history) in enumerate(histories.items()):
        look = {
            "color": SERIES[number % len(SERIES)],
            "linestyle": DASHES[number // len(SERIES) % len(DASHES)],
            "marker": "." if len(history) < 40 else None,
        }
        epochs = [row.epoch for row in history]
        loss_axes.plot(epochs, [row.train_loss for row in history], label=name, **look)
        error_axes.plot(epochs, [100 * row.dev_frame_error for row in history], **look)
    loss_axes.set_title("Training loss")
    loss_axes.set_ylabel("nats a frame")
    error_axes.set_title("Frame error on dev")
    error_axes.set_ylabel("wrong frames (%)")
    for axes in (loss_axes, error_axes):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=LEGEND_COLUMNS)
    return figure
