"""example -> picture: features on top, teacher's stored labels and student's posteriors below.

Shapes: T frames, R classes shown.
"""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Transform
from numpy.typing import NDArray

from stages.report.drawing import BLACK, BLUE, GREY, GRID, ORANGE, new_figure
from stages.report.example import Example

WIDTH = 7.2  # inches: time needs room, and a phone scrolls
CLASS_INCHES = 0.15
MOST_CLASS_LABELS = 40


def draw_posteriorgram(example: Example) -> Figure:
    """One column of panels over the same time axis: features, teacher, student.

    The deeper a colour, the higher the probability: they are transparent at 0, on any background.
    """
    panels = [(example.teacher_TR, "Teacher: soft labels as stored", ORANGE)]
    if example.student_TR is not None:
        panels.append((example.student_TR, f"Student: {example.student}", BLUE))
    panel_inches = max(1.6, CLASS_INCHES * len(example.classes_R))
    heights = [1.3] + [panel_inches] * len(panels)
    figure = new_figure(width=WIDTH, height=sum(heights) + 0.6 * len(heights) + 0.4)
    features_axes, *prob_axes = figure.subplots(
        len(heights), 1, sharex=True, height_ratios=heights, squeeze=True
    )
    seconds = len(example.features_TF) * example.seconds_per_frame
    _draw_features(features_axes, example, seconds)
    for axes, (prob_TR, title, colour) in zip(prob_axes, panels, strict=True):
        _draw_posteriors(axes, example, prob_TR, seconds, colour=colour)
        axes.set_title(title)
    prob_axes[-1].set_xlabel("seconds")
    return figure


def _fade_in(colour: str) -> LinearSegmentedColormap:
    """From transparent to the colour. The picture is one for light and for dark."""
    red, green, blue = to_rgb(colour)
    ends = [(red, green, blue, 0.0), (red, green, blue, 1.0)]
    return LinearSegmentedColormap.from_list("fade", ends)


def _draw_features(axes: Axes, example: Example, seconds: float) -> None:
    low, high = np.percentile(example.features_TF, (1, 99))
    num_dims = example.features_TF.shape[1]
    axes.imshow(
        example.features_TF.T,
        origin="lower",
        aspect="auto",
        interpolation="none",
        cmap=_fade_in(GREY),
        vmin=low,
        vmax=high,
        extent=(0, seconds, -0.5, num_dims - 0.5),
    )
    axes.grid(visible=False)
    axes.set_ylabel("feature dim")
    for span in example.words:
        begin, end = (frame * example.seconds_per_frame for frame in (span.start, span.end))
        axes.axvline(begin, color=BLACK, linewidth=0.6)
        axes.axvline(end, color=BLACK, linewidth=0.6)
        axes.text(
            (begin + end) / 2, 1.03, span.word, fontsize=8, ha="center", transform=_above(axes)
        )
    title = f"Features of {example.utterance}"
    axes.set_title(title, pad=18 if example.words else 6)


def _above(axes: Axes) -> Transform:
    return axes.get_xaxis_transform()  # seconds along x, shares of the height along y


def _draw_posteriors(
    axes: Axes, example: Example, prob_TR: NDArray[np.float32], seconds: float, *, colour: str
) -> None:
    num_rows = len(example.classes_R)
    axes.imshow(
        prob_TR.T,
        origin="upper",
        aspect="auto",
        interpolation="none",
        cmap=_fade_in(colour),
        vmin=0,
        vmax=1,
        extent=(0, seconds, num_rows - 0.5, -0.5),
    )
    for first, last, row in _runs(example.labels_T):
        begin, end = first * example.seconds_per_frame, last * example.seconds_per_frame
        axes.plot([begin, end], [row + 0.45] * 2, color=BLACK, linewidth=2, solid_capstyle="butt")
    for span in example.words:
        axes.axvline(span.start * example.seconds_per_frame, color=GREY, linewidth=0.6)
    axes.grid(visible=False)
    for row in range(1, num_rows):
        axes.axhline(row - 0.5, color=GRID, linewidth=0.5)
    every = -(-num_rows // MOST_CLASS_LABELS)
    rows = range(0, num_rows, every)
    axes.set_yticks(rows, [example.names_R[row] for row in rows], fontsize=8)
    axes.set_ylabel("class")


def _runs(labels_T: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(first frame, frame after the last, row) of each stretch of one known label."""
    edges = [0, *(np.flatnonzero(np.diff(labels_T)) + 1).tolist(), len(labels_T)]
    spans = [(a, b, int(labels_T[a])) for a, b in pairwise(edges) if b > a]
    return [span for span in spans if span[2] >= 0]
