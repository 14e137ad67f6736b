"""Frame map: which frame of a model's output belongs to each row of the corpus.

Frame n of the model stands at row `offset + n * stride`. As many rows as before the first frame
are after the last one, which is true of layers that look as far ahead as back:

    padded, every row                stride 1, offset 0
    kernel of 5 rows, unpadded       stride 1, offset 2
    two convolutions of kernel 3 and stride 2, unpadded       stride 4, offset 3

Shapes: T rows of the corpus.
"""

import numpy as np
from numpy.typing import NDArray

MAX_DIFFERENCE = 1  # programs round the last frame differently; more is another stride or offset


def expected_frames(num_rows: int, *, stride: int, offset: int) -> int:
    """Frames of the model for so many rows."""
    return max(0, (num_rows - 1 - 2 * offset) // stride + 1)


def nearest_frames(
    num_rows: int, num_frames: int, *, stride: int, offset: int
) -> NDArray[np.int64]:
    """The frame nearest to each row, (T,); of two equally near ones the earlier.

    Rows before the first and after the last frame have those.
    """
    away_T = np.arange(num_rows, dtype=np.int64) - offset
    nearest_T = -((stride - 2 * away_T) // (2 * stride))  # rounds half down
    return np.clip(nearest_T, 0, num_frames - 1)
