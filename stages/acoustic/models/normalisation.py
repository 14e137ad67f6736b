"""Normalisation: mean and standard deviation of every feature over a split, in one pass.

Shapes: T frames, F feature dims.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def feature_statistics(
    blocks: Iterable[NDArray[np.float32]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(mean_F, std_F) over all frames of all blocks (T, F), accumulated in float64.

    Blocks are merged by their means and squared deviations (Chan, Golub, LeVeque 1979): sums of
    squares would lose a small deviation beside a large mean.
    """
    count = 0
    mean_F = squares_F = np.zeros(1)
    for block_TF in blocks:
        if not len(block_TF):
            continue
        wide_TF = block_TF.astype(np.float64)
        block_mean_F = wide_TF.mean(axis=0)
        step_F = block_mean_F - mean_F
        total = count + len(wide_TF)
        squares_F = (
            squares_F
            + np.square(wide_TF - block_mean_F).sum(axis=0)
            + np.square(step_F) * (count * len(wide_TF) / total)
        )
        mean_F = mean_F + step_F * (len(wide_TF) / total)
        count = total
    return mean_F, np.sqrt(squares_F / max(1, count))
