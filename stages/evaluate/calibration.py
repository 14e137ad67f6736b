"""posteriors, hard labels -> reliability bins and the expected calibration error.

Shapes: T frames, C classes.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.contract.results import Calibration, ReliabilityBin
from storage.corpus.corpus_file import NO_LABEL

NUM_BINS = 15  # of Guo et al. 2017


def _zeros() -> NDArray[np.float64]:
    return np.zeros(NUM_BINS)


@dataclass(slots=True)
class CalibrationTally:
    """Sums over the labelled frames for each bin; bin i holds confidences in (i, i + 1] / 15."""

    frames: NDArray[np.float64] = field(default_factory=_zeros)
    confidence: NDArray[np.float64] = field(default_factory=_zeros)
    right: NDArray[np.float64] = field(default_factory=_zeros)

    def count(self, logp_TC: NDArray[np.float32], labels_T: NDArray[np.int32]) -> None:
        """Add an utterance."""
        known = np.flatnonzero(labels_T != NO_LABEL)
        best = logp_TC[known].argmax(axis=1) if len(known) else known
        confidence = np.exp(logp_TC[known, best].astype(np.float64))
        bins = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
        self.frames += np.bincount(bins, minlength=NUM_BINS)
        self.confidence += np.bincount(bins, weights=confidence, minlength=NUM_BINS)
        self.right += np.bincount(bins, weights=best == labels_T[known], minlength=NUM_BINS)

    def result(self) -> Calibration | None:
        """The calibration; None if no frame has a hard label."""
        total = self.frames.sum()
        if not total:
            return None
        shares = np.maximum(self.frames, 1)
        return Calibration(
            expected_error=float(np.abs(self.right - self.confidence).sum() / total),
            bins=tuple(
                ReliabilityBin(
                    num_frames=int(frames), confidence=float(confidence), accuracy=float(right)
                )
                for frames, confidence, right in zip(
                    self.frames, self.confidence / shares, self.right / shares, strict=True
                )
            ),
        )
