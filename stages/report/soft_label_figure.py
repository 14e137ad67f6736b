"""soft labels of an utterance -> picture: a posteriorgram, with the tail below.

Shapes: T frames, R classes shown.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.contract.errors import BadInput
from stages.report.drawing import ORANGE, VERMILLION, new_figure
from storage.read.soft_labels import SoftLabels

CLASS_INCHES = 0.16
MOST_CLASS_LABELS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is drawn. `prob_TR` is 0 for classes not kept; `labels_T` is None if unknown."""

    utterance: str
    seconds_per_frame: float
    classes_R: NDArray[np.int64]
    prob_TR: NDArray[np.float32]
    tail_T: NDArray[np.float32]
    labels_T: NDArray[np.int32] | None


def choose_classes(
    labels: SoftLabels,
    *,
    utterance: str,
    seconds_per_frame: float,
    num_classes: int,
    hard_labels_T: NDArray[np.int32] | None,
) -> Shown:
    """The classes with most mass in the utterance, in order of time.

    Raises:
        BadInput: if the utterance has no frames.
    """
    if not labels.num_frames:
        raise BadInput(f"utterance {utterance!r} has no frames: name another one")
    prob_TK = np.exp(labels.logp_TK)
    ids, column_TK = np.unique(labels.ids_TK, return_inverse=True)
    prob_TI = np.zeros((labels.num_frames, len(ids)), np.float32)
    np.put_along_axis(prob_TI, column_TK.reshape(prob_TK.shape), prob_TK, axis=1)
    chosen = np.argsort(-prob_TI.sum(axis=0), kind="stable")[:num_classes]
    chosen = chosen[np.argsort(prob_TI[:, chosen].argmax(axis=0), kind="stable")]
    return Shown(
        utterance=utterance,
        seconds_per_frame=seconds_per_frame,
        classes_R=ids[chosen].astype(np.int64),
        prob_TR=prob_TI[:, chosen],
        tail_T=labels.tail_T,
        labels_T=hard_labels_T,
    )


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
