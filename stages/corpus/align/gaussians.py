"""Gaussians: one with diagonal covariance for each class, estimated from aligned frames.

The first alignment has no model: `flat_start` takes the quiet edges of an utterance as silence and
divides the rest evenly among the states of its words.

Shapes: T frames, D dims, C classes, S states of a transcript.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.corpus.align.frames import product
from stages.corpus.align.transcript_hmm import TranscriptHmm
from stages.corpus.spoken.units import SILENCE_STATES

Float = NDArray[np.float64]
VARIANCE_FLOOR = 0.05  # of the variance over all frames
EDGE_FRAMES = 5  # at the start and at the end that are silence at least, if there are enough
PRIOR_FRAMES = 5.0  # frames of the whole data that each class is estimated with


@dataclass(frozen=True, slots=True)
class Gaussians:
    """Log-likelihoods are linear in a frame and its square."""

    linear_DC: Float
    square_DC: Float
    constant_C: Float

    def loglike(self, frames_TD: Float) -> Float:
        """Log-likelihood of every class in every frame, (T, C)."""
        linear_TC = product(frames_TD, self.linear_DC)
        return linear_TC + product(np.square(frames_TD), self.square_DC) + self.constant_C


class GaussianSums:
    """Sums over aligned frames, by class."""

    def __init__(self, num_classes: int, num_dims: int) -> None:
        self._count_C = np.zeros(num_classes)
        self._sum_CD = np.zeros((num_classes, num_dims))
        self._squares_CD = np.zeros((num_classes, num_dims))

    def add(self, frames_TD: Float, class_T: NDArray[np.int64]) -> None:
        """Count the frames of one utterance."""
        self._count_C += np.bincount(class_T, minlength=len(self._count_C))
        np.add.at(self._sum_CD, class_T, frames_TD)
        np.add.at(self._squares_CD, class_T, np.square(frames_TD))

    def estimate(self) -> Gaussians:
        """The Gaussians of these frames; a class with few frames is near that of all frames."""
        total = self._count_C.sum()
        mean_D = self._sum_CD.sum(axis=0) / total
        variance_D = self._squares_CD.sum(axis=0) / total - np.square(mean_D)
        count_C1 = (self._count_C + PRIOR_FRAMES)[:, np.newaxis]
        mean_CD = (self._sum_CD + PRIOR_FRAMES * mean_D) / count_C1
        all_squares_D = variance_D + np.square(mean_D)
        square_CD = (self._squares_CD + PRIOR_FRAMES * all_squares_D) / count_C1
        variance_CD = np.maximum(square_CD - np.square(mean_CD), VARIANCE_FLOOR * variance_D)
        return Gaussians(
            linear_DC=(mean_CD / variance_CD).T,
            square_DC=(-0.5 / variance_CD).T,
            constant_C=-0.5 * (np.log(variance_CD) + np.square(mean_CD) / variance_CD).sum(axis=1),
        )


def flat_start(
    hmm: TranscriptHmm, num_frames: int, *, edges: tuple[int, int]
) -> NDArray[np.int64] | None:
    """States (T,) of a transcript without a model; None if there are too few frames.

    Each word has its first pronunciation, and no silence is between words. `edges` are the quiet
    frames at the start and at the end; they are not used if the rest is too short for the words.
    """
    spoken_S = np.array(hmm.first_choice, np.int64)
    spare = num_frames - len(spoken_S)
    if spare < 0:
        return None
    least = min(EDGE_FRAMES, spare // 2)
    num_lead, num_trail = (max(edge, least) for edge in edges)
    if num_lead + num_trail > spare:
        num_lead = num_trail = least
    silent_S = np.flatnonzero(hmm.word_S < 0)
    lead, trail = silent_S[:SILENCE_STATES], silent_S[-SILENCE_STATES:]
    num_spoken = num_frames - num_lead - num_trail
    return np.concatenate(
        [_spread(lead, num_lead), _spread(spoken_S, num_spoken), _spread(trail, num_trail)]
    )


def _spread(state_S: NDArray[np.int64], num_frames: int) -> NDArray[np.int64]:
    """The states in order, each for equally many frames."""
    return state_S[np.arange(num_frames) * len(state_S) // max(num_frames, 1)]
