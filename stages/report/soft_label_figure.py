"""soft labels of an utterance -> picture: a posteriorgram, with the tail below.

Shapes: T frames, R classes shown.
"""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.report.drawing import ORANGE, VERMILLION, new_figure
from stages.report.shown_classes import Shown

CLASS_INCHES = 0.16
MOST_CLASS_LABELS = 40


def draw_soft_labels(shown: Shown) -> Figure:
    """Posteriors over time with the hard labels, and the tail below."""
    inches = max(2.0, CLASS_INCHES * len(shown.classes_R))
    figure = new_figure(width=10, height=inches + 2.4)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[inches, 1.1])
    _draw_posteriors(top, shown)
    edges_T = np.arange(len(shown.tail_T) + 1) * shown.seconds_per_frame
    bottom.stairs(shown.tail_T, edges_T, fill=True, color=VERMILLION, alpha=0.8)
    bottom.set_ylim(0, max(0.01, 1.1 * float(shown.tail_T.max(initial=0.0))))
    bottom.set_ylabel("tail")
    bottom.set_xlabel("seconds")
    return figure


def _draw_posteriors(axes: Axes, shown: Shown) -> None:
    num_frames, num_rows = shown.prob_TR.shape
    seconds = num_frames * shown.seconds_per_frame
    image = axes.imshow(
        shown.prob_TR.T,
        origin="upper",
        aspect="auto",
        interpolation="nearest",
        cmap="Blues",
        vmin=0,
        vmax=max(0.05, float(shown.prob_TR.max(initial=0.0))),
        extent=(0, seconds, num_rows - 0.5, -0.5),
    )
    axes.grid(visible=False)
    for row in range(1, num_rows):
        axes.axhline(row - 0.5, color="#ececec", linewidth=0.5)
    if shown.labels_T is not None:
        _draw_hard_labels(axes, shown, shown.labels_T)
    every = -(-num_rows // MOST_CLASS_LABELS)
    rows = range(0, num_rows, every)
    axes.set_yticks(rows, [str(shown.classes_R[row]) for row in rows], fontsize=7)
    axes.set_ylabel("class")
    axes.set_title(f"Soft labels of {shown.utterance}")
    assert axes.figure is not None
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, aspect=30)
    bar.set_label("probability")


def _draw_hard_labels(axes: Axes, shown: Shown, labels_T: NDArray[np.int32]) -> None:
    row_of = {int(c): row for row, c in enumerate(shown.classes_R)}
    edges = [0, *(np.flatnonzero(np.diff(labels_T)) + 1).tolist(), len(labels_T)]
    label = "hard label"
    for first, last in pairwise(edges):
        if last > first and (row := row_of.get(int(labels_T[first]))) is not None:
            span = [first * shown.seconds_per_frame, last * shown.seconds_per_frame]
            axes.plot(
                span,
                [row + 0.45] * 2,
                color=ORANGE,
                linewidth=2,
                solid_capstyle="butt",
                label=label,
            )
            label = "_nolegend_"
    if label != "hard label":
        axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.1)
