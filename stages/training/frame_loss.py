"""Frame loss: cross-entropy and frame errors against hard labels. Unlabelled frames do not count.

Shapes: N frames, C classes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from storage.corpus.corpus_file import NO_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameScore:
    """Sums over labelled frames, or over tokens (token_score.py); scores of batches add up."""

    num_frames: int = 0
    num_errors: int = 0
    nats: float = 0.0

    def __add__(self, other: "FrameScore") -> "FrameScore":
        return FrameScore(
            num_frames=self.num_frames + other.num_frames,
            num_errors=self.num_errors + other.num_errors,
            nats=self.nats + other.nats,
        )

    @property
    def frame_error(self) -> float:
        """Share of frames whose most probable class is not the label; 0.0 without frames."""
        return self.num_errors / max(1, self.num_frames)

    @property
    def cross_entropy(self) -> float:
        """Mean nats a frame; 0.0 without frames."""
        return self.nats / max(1, self.num_frames)


def hard_loss(logits_NC: Tensor, labels_N: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy, nats, over the labelled frames; 0 (not NaN) where there are none.

    `smoothing` is the share of the target that goes to all C classes alike (Szegedy et al. 2016).
    """
    total = functional.cross_entropy(
        logits_NC, labels_N, ignore_index=NO_LABEL, reduction="sum", label_smoothing=smoothing
    )
    return total / (labels_N != NO_LABEL).sum().clamp(min=1)


@torch.no_grad()
def score_frames(logits_NC: Tensor, labels_N: Tensor) -> FrameScore:
    """Frame errors and nats of the labelled frames."""
    known_N = labels_N != NO_LABEL
    errors = (logits_NC.argmax(dim=1) != labels_N) & known_N
    nats = functional.cross_entropy(logits_NC, labels_N, ignore_index=NO_LABEL, reduction="sum")
    return FrameScore(num_frames=int(known_N.sum()), num_errors=int(errors.sum()), nats=float(nats))
