"""features -> rows of the corpus file: normalise, add deltas, splice, subsample.

All functions map arrays to arrays and do not depend on files. Statistics are sums in float64; rows
are float32.

Shapes: T frames, F feature dims, R rows after subsampling, D dims of a row.
"""

from dataclasses import dataclass
from typing import Self

import kaldi_native_fbank as knf
import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.front_end_settings import DELTA_WINDOW, FrontEndSettings

VARIANCE_FLOOR = 1e-6  # a constant dimension becomes zero, not nan


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over frames that give mean and variance; two of them can be added."""

    num_frames: int
    sum_F: NDArray[np.float64]
    squares_F: NDArray[np.float64]

    @classmethod
    def of(cls, features_TF: NDArray[np.float32]) -> Self:
        """The sums of one utterance."""
        wide_TF = features_TF.astype(np.float64)
        return cls(len(wide_TF), wide_TF.sum(axis=0), np.square(wide_TF).sum(axis=0))

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(
            self.num_frames + other.num_frames,
            self.sum_F + other.sum_F,
            self.squares_F + other.squares_F,
        )


def row_dim(settings: FrontEndSettings, feature_dim: int) -> int:
    """Number of values in a row of the corpus file."""
    context = settings.splice_left + 1 + settings.splice_right
    return feature_dim * (settings.deltas + 1) * context


def normalise(
    features_TF: NDArray[np.float32], moments: Moments, *, norm_vars: bool
) -> NDArray[np.float32]:
    """Shift to mean 0 and, with `norm_vars`, scale to variance 1, both by `moments`."""
    mean_F = moments.sum_F / moments.num_frames
    moved_TF = features_TF - mean_F
    if norm_vars:
        variance_F = moments.squares_F / moments.num_frames - np.square(mean_F)
        moved_TF /= np.sqrt(np.maximum(variance_F, VARIANCE_FLOOR))
    return moved_TF.astype(np.float32)


def to_rows(features_TF: NDArray[np.float32], settings: FrontEndSettings) -> NDArray[np.float32]:
    """Add deltas, splice neighbours to each frame (edges repeated), take every n-th row: (R, D)."""
    rows_TD = np.ascontiguousarray(features_TF, dtype=np.float32)
    if settings.deltas:
        rows_TD = knf.compute_deltas(
            knf.DeltaOptions(order=settings.deltas, window=DELTA_WINDOW), rows_TD
        )
    if settings.splice_left or settings.splice_right:
        context = knf.SpliceOptions(
            left_context=settings.splice_left, right_context=settings.splice_right
        )
        rows_TD = knf.splice_frames(rows_TD, context)
    return np.ascontiguousarray(rows_TD[:: settings.subsample])


def to_row_labels(labels_T: NDArray[np.int32], settings: FrontEndSettings) -> NDArray[np.int32]:
    """The labels of the frames that `to_rows` keeps, (R,)."""
    return labels_T[:: settings.subsample]


def count_visits(labels_T: NDArray[np.int32], settings: FrontEndSettings) -> tuple[int, int]:
    """Number of runs of one label, and number of those that lose all frames by subsampling."""
    starts = np.flatnonzero(np.diff(labels_T, prepend=-1))  # labels are at least 0
    ends = np.append(starts[1:], len(labels_T))
    rows_before_start, rows_before_end = (-(-at // settings.subsample) for at in (starts, ends))
    return len(starts), int((rows_before_start == rows_before_end).sum())
