"""posteriors, hard labels -> frame error and cross-entropy.

Shapes: T frames, C classes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.contract.results import FrameErrors
from storage.corpus.corpus_file import NO_LABEL


@dataclass(slots=True)
class FrameTally:
    """Sums over the labelled frames of a split, in float64."""

    num_frames: int = 0
    num_labelled: int = 0
    num_wrong: int = 0
    nats: float = 0.0

    def count(self, logp_TC: NDArray[np.float32], labels_T: NDArray[np.int32]) -> None:
        """Add an utterance; frames without a label count only in `num_frames`."""
        known = np.flatnonzero(labels_T != NO_LABEL)
        labels = labels_T[known]
        self.num_frames += len(labels_T)
        self.num_labelled += len(known)
        self.num_wrong += int((logp_TC[known].argmax(axis=1) != labels).sum())
        self.nats -= float(logp_TC[known, labels].sum(dtype=np.float64))

    def result(self) -> FrameErrors:
        """The means over the labelled frames."""
        known = self.num_labelled > 0
        return FrameErrors(
            num_frames=self.num_frames,
            frame_error=self.num_wrong / self.num_labelled if known else None,
            cross_entropy=self.nats / self.num_labelled if known else None,
        )
