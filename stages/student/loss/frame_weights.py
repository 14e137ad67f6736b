"""Lesson: what a batch is to learn, from labels and soft labels: targets, and what a frame counts.

Shapes: N frames, C classes, K kept ranks, J = K + 1 named classes: the kept ranks, then the label.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from stages.student.loss.targets import TailPolicy, Target, blocks_of, soft_target


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """Targets of N frames. `share_N` is what a frame counts in the mean, `hard_share_N` in the
    mean of the hard loss. `known_N` is 1 where there is a label. No `soft`: hard_weight is 1.

    `unit` is what gradients are still to be divided by: the sum of all frames' weights in float16,
    where the gradient of a mean would be too small to be anything but 0; else None.
    """

    index_NJ: Tensor
    known_N: Tensor
    soft: Target | None
    hard_weight: float
    temperature: float
    live_N: Tensor
    share_N: Tensor
    hard_share_N: Tensor
    unit: Tensor | None

    @property
    def dtype(self) -> torch.dtype:
        """What it is computed in."""
        return self.share_N.dtype

    @property
    def pull_share_N(self) -> Tensor:
        """What a frame counts in the gradient, in its unit."""
        return self.share_N if self.unit is None else self.share_N * self.unit

    def factor_for(self, scale: Tensor) -> Tensor:
        """What a computed gradient is multiplied by, when that of the loss is `scale`."""
        return scale if self.unit is None else scale / self.unit

    @property
    def num_live_frames(self) -> int:
        """How many frames count."""
        return int((self.live_N > 0).sum())

    def split(self, block_frames: int) -> list[Self]:
        """The same in blocks of frames."""
        blocks = [
            blocks_of(x, block_frames)
            for x in (self.index_NJ, self.known_N, self.live_N, self.share_N, self.hard_share_N)
        ]
        soft: Sequence[Target | None] = [None] * len(blocks[0])
        if self.soft is not None:
            soft = self.soft.split(block_frames)
        return [
            replace(
                self,
                index_NJ=index_BJ,
                known_N=known_B,
                live_N=live_B,
                share_N=share_B,
                hard_share_N=hard_share_B,
                soft=soft_B,
            )
            for index_BJ, known_B, live_B, share_B, hard_share_B, soft_B in zip(
                *blocks, soft, strict=True
            )
        ]

    def means(self, hard_N: Tensor, soft_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Total, hard and soft loss of the batch."""
        mixed_N = self.hard_weight * hard_N + (1 - self.hard_weight) * soft_N
        return (
            (mixed_N * self.share_N).sum(),
            (hard_N * self.hard_share_N).sum(),
            (soft_N * self.share_N).sum(),
        )


def make_lesson(
    labels_N: Tensor,
    ids_NK: Tensor,
    logp_NK: Tensor,
    tail_N: Tensor,
    *,
    num_classes: int,
    hard_weight: float,
    tail: TailPolicy,
    temperature: float,
    frame_weights_N: Tensor | None,
    logits_dtype: torch.dtype,
) -> Lesson:
    """The lesson of a batch; its arguments are those of `essence_loss`."""
    assert 0 <= hard_weight <= 1
    assert temperature > 0
    dtype = torch.promote_types(logits_dtype, torch.float32)
    known_N = (labels_N >= 0).to(dtype)
    live_N = torch.ones_like(known_N) if frame_weights_N is None else frame_weights_N.to(dtype)
    hard_N = known_N if frame_weights_N is None else live_N * known_N
    if hard_weight == 1:
        live_N = hard_N
    index_NJ, soft = labels_N.clamp(min=0).long()[:, None], None
    if hard_weight < 1:
        index_NJ = torch.cat([ids_NK.long(), index_NJ], dim=1)
        soft = soft_target(
            logp_NK.to(dtype), tail_N.to(dtype), known_N, tail=tail, num_classes=num_classes
        )
    whole = _whole(live_N)
    share_N = live_N / whole
    return Lesson(
        index_NJ=index_NJ,
        known_N=known_N,
        soft=soft,
        hard_weight=hard_weight,
        temperature=temperature,
        live_N=live_N,
        share_N=share_N,
        hard_share_N=share_N if hard_weight == 1 else hard_N / _whole(hard_N),
        unit=whole if logits_dtype == torch.float16 else None,
    )


def _whole(weights_N: Tensor) -> Tensor:
    # Never 0: a batch without live frames has loss 0, not NaN.
    whole = weights_N.sum()
    return torch.where(whole > 0, whole, 1)
