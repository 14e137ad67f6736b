"""Makers of frames with hard labels and soft targets."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.student.loss.definition import SoftTargets


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """Logits, and the arguments of a loss that follow them."""

    logits_NC: Tensor
    labels_N: Tensor
    soft: SoftTargets

    def to(self, dtype: torch.dtype) -> "Frames":
        """The same values in another dtype; soft targets at least in float32."""
        at_least_single = torch.promote_types(dtype, torch.float32)
        soft = replace(
            self.soft,
            logp_NK=self.soft.logp_NK.to(at_least_single),
            tail_N=self.soft.tail_N.to(at_least_single),
        )
        return replace(self, logits_NC=self.logits_NC.detach().to(dtype), soft=soft)

    def with_logits(self, logits_NC: Tensor) -> "Frames":
        """Other logits of the same frames."""
        return replace(self, logits_NC=logits_NC)

    def leaf(self) -> Tensor:
        """A copy of the logits that wants a gradient."""
        return self.logits_NC.detach().clone().requires_grad_()


def make_frames(
    *,
    num_frames: int = 7,
    num_classes: int = 11,
    k: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    unlabelled: bool = True,
    temperature: float = 1.0,
) -> Frames:
    """Random frames; the label of the first is among the kept classes, the third has none."""
    rng = torch.Generator().manual_seed(seed)
    logits_NC = 3 * torch.randn(num_frames, num_classes, generator=rng, dtype=torch.float64)
    teacher_NC = 3 * torch.randn(num_frames, num_classes, generator=rng, dtype=torch.float64)
    logp_NC = (teacher_NC / temperature).log_softmax(1)
    logp_NK, ids_NK = logp_NC.topk(k, dim=1)
    tail_N = logp_NC.exp().scatter(1, ids_NK, 0.0).sum(1)
    labels_N = torch.randint(num_classes, (num_frames,), generator=rng)
    if num_frames:
        labels_N[0] = ids_NK[0, 0]
    if unlabelled and num_frames > 2:
        labels_N[2] = -1
    soft = SoftTargets(ids_NK=ids_NK, logp_NK=logp_NK, tail_N=tail_N)
    return Frames(logits_NC=logits_NC, labels_N=labels_N, soft=soft).to(dtype)


def no_soft_targets(num_frames: int) -> SoftTargets:
    """K = 0, and a tail that must not be read."""
    return SoftTargets(
        ids_NK=torch.empty(num_frames, 0, dtype=torch.long),
        logp_NK=torch.empty(num_frames, 0),
        tail_N=torch.full((num_frames,), torch.nan),
    )
