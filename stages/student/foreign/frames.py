"""RealFrames: the frames of a padded batch that are no padding, by lengths that the CPU has.

Tensors of one batch may be padded to different lengths: logits, labels, soft labels.

Shapes: B utterances, T frames of a padded utterance, N frames without padding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.student.foreign.batch import picked


@dataclass(frozen=True, slots=True)
class RealFrames:
    """Utterance and position of each frame, (N,) on the CPU."""

    lengths_B: Tensor
    utterance_N: Tensor
    position_N: Tensor

    @classmethod
    def of(cls, lengths_B: Tensor) -> "RealFrames":
        """All frames below their utterance's length."""
        utterance_N = torch.arange(len(lengths_B)).repeat_interleave(lengths_B)
        starts_B = lengths_B.cumsum(0) - lengths_B
        position_N = torch.arange(len(utterance_N)) - starts_B[utterance_N]
        return cls(lengths_B, utterance_N, position_N)

    def __len__(self) -> int:
        return len(self.utterance_N)

    def index(self, num_padded: int, device: torch.device) -> Tensor | None:
        """Indices in (B * num_padded), on a device; None where nothing is padded."""
        if len(self) == len(self.lengths_B) * num_padded:
            return None
        index_N = self.utterance_N * num_padded + self.position_N
        return index_N.to(device, non_blocking=True)

    def pick(self, values_BTX: Tensor) -> Tensor:
        """(B, T, ...) -> (N, ...): a copy where something is padded, otherwise a view."""
        return picked(values_BTX, self.index(values_BTX.shape[1], values_BTX.device))
