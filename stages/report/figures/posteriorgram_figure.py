"""example -> picture: features on top, teacher's stored labels and student's posteriors below.

Shapes: T frames, R classes shown.
"""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from stages.report.drawing import ORANGE, new_figure
from stages.report.example import Example

CLASS_INCHES = 0.13
MOST_CLASS_LABELS = 40


def draw_posteriorgram(example: Example) -> Figure:
    """One column of panels over the same time axis."""
    panels = [(example.teacher_TR, "Teacher: soft labels as stored")]
    if example.student_TR is not None:
        panels.append((example.student_TR, f"Student: {example.student}"))
    panel_inches = max(1.6, CLASS_INCHES * len(example.classes_R))
    heights = [1.6] + [panel_inches] * len(panels)
    figure = new_figure(width=10, height=sum(heights) + 0.6 * len(heights) + 0.4)
    features_axes, *prob_axes = figure.subplots(
        len(heights), 1, sharex=True, height_ratios=heights, squeeze=True
    )
    seconds = len(example.features_TF) * example.seconds_per_frame
    _draw_features(features_axes, example, seconds)
    for axes, (prob_TR, title) in zip(prob_axes, panels, strict=True):
        image = _draw_posteriors(axes, example, prob_TR, seconds)
        axes.set_title(title)
    prob_axes[-1].set_xlabel("seconds")
    bar = figure.colorbar(image, ax=prob_axes, shrink=0.6, pad=0.01, aspect=30)
    bar.set_label("probability")
    return figure


def _draw_features(axes: Axes, example: Example, seconds: float) -> None:
    low, high = np.percentile(example.features_TF, (1, 99))
    num_dims = example.features_TF.shape[1]
    axes.imshow(
        example.features_TF.T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="Greys",
        vmin=low,
        vmax=high,
        extent=(0, seconds, -0.5, num_dims - 0.5),
    )
    axes.grid(visible=False)
    axes.set_ylabel("feature dim")
    axes.set_title(f"Features of {example.utterance}")


def _draw_posteriors(
    axes: Axes, example: Example, prob_TR: NDArray[np.float32], seconds: float
) -> AxesImage:
    num_rows = len(example.classes_R)
    image = axes.imshow(
        prob_TR.T,
        origin="upper",
        aspect="auto",
        interpolation="nearest",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(0, seconds, num_rows - 0.5, -0.5),
    )
    for first, last, row in _runs(example.labels_T):
        begin, end = first * example.seconds_per_frame, last * example.seconds_per_frame
        axes.plot([begin, end], [row + 0.45] * 2, color=ORANGE, linewidth=2, solid_capstyle="butt")
    axes.grid(visible=False)
    for row in range(1, num_rows):
        axes.axhline(row - 0.5, color="#ececec", linewidth=0.5)
    every = -(-num_rows // MOST_CLASS_LABELS)
    rows = range(0, num_rows, every)
    axes.set_yticks(rows, [str(example.classes_R[row]) for row in rows], fontsize=7)
    axes.set_ylabel("class")
    return image


def _runs(labels_T: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(first frame, frame after the last, row) of each stretch of one known label."""
    edges = [0, *(np.flatnonzero(np.diff(labels_T)) + 1).tolist(), len(labels_T)]
    spans = [(a, b, int(labels_T[a])) for a, b in pairwise(edges) if b > a]
    return [span for span in spans if span[2] >= 0]
