"""Edges: the silence at the start and at the end of an utterance, found without a model.

Shapes: T frames.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Loudness = NDArray[np.float64]
SMOOTHED_FRAMES = 5  # an odd number
LARGEST_SHARE = 1 / 3  # of the frames of an utterance
TURNS = 10  # of the search for two levels


def louder_in_the_middle(utterances: Iterable[Loudness]) -> float:
    """1 if utterances are higher in the middle than at their ends, as speech is; -1 otherwise.

    A principal axis has no direction of its own: its values rise with loudness, or fall.
    """
    above = 0.0
    for loudness_T in utterances:
        ends = (loudness_T[:SMOOTHED_FRAMES].mean() + loudness_T[-SMOOTHED_FRAMES:].mean()) / 2
        above += loudness_T.mean() - ends
    return 1.0 if above >= 0 else -1.0


def silent_edges(loudness_T: Loudness) -> tuple[int, int]:
    """Numbers of frames before the first and after the last loud frame.

    Loud is what is nearer to the higher of two levels, which are the means of the frames that are
    nearer to each (2-means). Edges that would be more than LARGEST_SHARE of the frames are none:
    then the two levels are not those of silence and speech, or words are spoken quietly.
    """
    half = SMOOTHED_FRAMES // 2
    padded_T = np.pad(loudness_T, half, mode="edge")
    smooth_T = np.convolve(padded_T, np.ones(SMOOTHED_FRAMES) / SMOOTHED_FRAMES, mode="valid")
    low, high = float(smooth_T.min()), float(smooth_T.max())
    for _ in range(TURNS):
        is_loud_T = smooth_T >= (low + high) / 2
        if is_loud_T.all():
            break
        low, high = float(smooth_T[~is_loud_T].mean()), float(smooth_T[is_loud_T].mean())
    loud = np.flatnonzero(smooth_T >= (low + high) / 2)
    lead, trail = int(loud[0]), len(loudness_T) - 1 - int(loud[-1])
    return (lead, trail) if lead + trail <= LARGEST_SHARE * len(loudness_T) else (0, 0)
