"""Objective: what a model is trained towards. Training itself does not know.

HardLabels is that of frame labels; ctc.py has that of token sequences.

An objective is given the model's last hidden activations and its output layer, not the logits: so
it may take the two together in chunks of frames, and padding never costs a product with C columns.

Shapes: N real frames of a batch, H hidden channels, C classes.
"""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from stages.training.batches import Batch
from stages.training.frame_loss import hard_loss
from storage.corpus.corpus_file import NO_LABEL


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLoss:
    """The mean loss over `num_frames` frames of a batch; `parts` stand beside the bar.

    `part_frames` has the frames that a part is the mean over, where that may be fewer.
    """

    total: Tensor
    num_frames: int
    parts: dict[str, float] = field(default_factory=dict)
    part_frames: dict[str, int] = field(default_factory=dict)


class Objective(Protocol):
    """A loss, and what it needs beside features and hard labels."""

    def read(self, batch: Batch) -> tuple[Tensor, ...]:
        """Targets of the batch's N frames, piece after piece. Runs in the reading thread."""

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        """The loss of N frames, whose logits are `output(hidden_NH)`: (N, C).

        `output` may be `nn.Identity()`, where a model gives nothing but logits. `targets` are those
        that `read` gave, on the device.
        """


@dataclass(frozen=True, kw_only=True)  # no slots: those that extend it keep something
class HardLabels:
    """Cross-entropy against the corpus's hard labels, nothing else; smoothed where asked."""

    smoothing: float = 0.0

    def read(self, batch: Batch) -> tuple[Tensor, ...]:
        """Nothing is needed."""
        return ()

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        """Mean nats over the labelled frames."""
        num_frames = int((labels_N != NO_LABEL).sum())
        total = hard_loss(output(hidden_NH).float(), labels_N, smoothing=self.smoothing)
        return BatchLoss(total=total, num_frames=num_frames)
