"""segment times -> a state for every frame, each state at least a few frames long.

A frame of 10 ms is labelled by the time of its centre, (t + 0.5) * 10 ms for frame t.

Shapes: S states in their order, T frames.
"""

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput

FRAMES_PER_SECOND = 100


def spread_states(
    starts_seconds: list[float], end_seconds: float, *, num_states: list[int]
) -> NDArray[np.float64]:
    """Start of every state of every segment, in frames: segments are divided evenly."""
    edges = [*starts_seconds, end_seconds]
    pieces = [
        np.linspace(begin, end, count, endpoint=False)
        for begin, end, count in zip(edges[:-1], edges[1:], num_states, strict=True)
    ]
    return np.concatenate(pieces) * FRAMES_PER_SECOND


def align_states(
    starts_S: NDArray[np.float64], *, num_frames: int, min_frames: int
) -> NDArray[np.int64]:
    """The state of every frame (T,), 0 to S - 1, each for at least `min_frames` frames.

    The starts are those nearest to `starts_S` in least squares: with new starts b and minimum m,
    b[i] - i m must not decrease, which is isotonic regression (pool adjacent violators).

    Raises:
        BadInput: if there are too few frames for the states.
    """
    num_states = len(starts_S)
    slack = num_frames - num_states * min_frames
    if slack < 0:
        raise BadInput(
            f"{num_states} states of {min_frames} frames do not fit into {num_frames} frames: "
            "lower spoken.words_per_minute_high, states_per_unit or min_frames_per_state"
        )
    order_S = np.arange(num_states)
    spare_S = _isotonic(starts_S - order_S * min_frames)
    begin_S = np.clip(np.rint(spare_S), 0, slack).astype(np.int64) + order_S * min_frames
    begin_S[0] = 0
    return np.repeat(order_S, np.diff(begin_S, append=num_frames))


def _isotonic(wanted_S: NDArray[np.float64]) -> NDArray[np.float64]:
    """The non-decreasing numbers nearest to `wanted_S` in least squares."""
    means: list[float] = []
    sizes: list[int] = []
    for value in wanted_S:
        mean, size = float(value), 1
        while means and means[-1] > mean:
            before, count = means.pop(), sizes.pop()
            mean = (mean * size + before * count) / (size + count)
            size += count
        means.append(mean)
        sizes.append(size)
    return np.repeat(means, sizes)
