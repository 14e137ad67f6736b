"""The student's softmax of a block of frames, and what a cross-entropy needs of it.

The softmax is one call of torch, into scratch memory that stays in cache. The rest follows from
its result: the logsumexp from the most probable target class, as logit - ln(probability), and the
student's tail as the sum over the classes outside the kept ones. Never as 1 - sum over the kept:
in float32 that loses all digits of a tail below 1e-7. Where probabilities are too small for their
dtype, the block is computed again with masked logsumexps.

Shapes: B frames of a block, N frames, C classes, J = K + 1 target classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from stages.student.loss.targets import SparseTarget

DIGITS_LOST_BELOW = 1e8  # times the smallest normal number of a dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxStatistics:
    """A softmax as a cross-entropy sees it: logits of the target classes, and their logsumexp.

    `log_tail_N` is ln of the probability outside the kept classes, None without a bucket.
    `mean_logit_N` is the mean of all C logits, None without mass on all classes.
    """

    logits_NJ: Tensor
    logsumexp_N: Tensor
    log_tail_N: Tensor | None
    mean_logit_N: Tensor | None

    @classmethod
    def join(cls, blocks: Sequence[Self]) -> Self:
        """Blocks of frames, in order, as one."""
        return cls(
            logits_NJ=torch.cat([block.logits_NJ for block in blocks]),
            logsumexp_N=torch.cat([block.logsumexp_N for block in blocks]),
            log_tail_N=_join([block.log_tail_N for block in blocks]),
            mean_logit_N=_join([block.mean_logit_N for block in blocks]),
        )

    def label_cross_entropy_N(self) -> Tensor:
        """-ln of the student's probability of the label."""
        return self.logsumexp_N - self.logits_NJ[:, -1]

    def cross_entropy_N(self, target: SparseTarget, *, num_classes: int) -> Tensor:
        """Sum over the target's mass, times -ln of the student's probability there."""
        cost_NJ = self.logsumexp_N[:, None] - self.logits_NJ
        loss_N = (target.mass_NJ * cost_NJ).sum(1)
        if target.every_mass_N is not None and self.mean_logit_N is not None:
            loss_N += target.every_mass_N * num_classes * (self.logsumexp_N - self.mean_logit_N)
        if target.bucket_mass_N is not None and self.log_tail_N is not None:
            loss_N -= target.bucket_mass_N * self.log_tail_N
        return loss_N


@dataclass(frozen=True, slots=True, kw_only=True)
class TailSplit:
    """The softmax inside and outside the kept classes, separately.

    `kept_BK` is the softmax of the kept classes. `SoftmaxBlock.prob_BC` is then 0 there and, on
    the other classes, proportional to the softmax, with sum `sum_B`; ln of their true sum is
    `log_tail_B`.
    """

    kept_BK: Tensor
    log_tail_B: Tensor
    sum_B: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxBlock:
    """`prob_BC` is the softmax, unless there is a `split` of it."""

    prob_BC: Tensor
    logits_BJ: Tensor
    logsumexp_B: Tensor
    split: TailSplit | None = None


def softmax_block(
    z_BC: Tensor, class_ids_BJ: Tensor, *, with_split: bool, scratch_BC: Tensor
) -> SoftmaxBlock:
    """The softmax of logits, which are not changed. `prob_BC` is in the scratch memory.

    With a split, K < C. Reads single values back to the host: for CPUs.
    """
    smallest = torch.finfo(z_BC.dtype).tiny * DIGITS_LOST_BELOW
    prob_BC = torch.softmax(z_BC, 1, out=scratch_BC)
    logits_BJ, prob_BJ = z_BC.gather(1, class_ids_BJ), prob_BC.gather(1, class_ids_BJ)
    largest_B = prob_BJ.amax(1)
    if largest_B.amin().item() < smallest:
        return stable_softmax_block(z_BC, class_ids_BJ, with_split=with_split)
    logsumexp_B = logits_BJ.amax(1) - largest_B.log()
    if not with_split:
        return SoftmaxBlock(prob_BC=prob_BC, logits_BJ=logits_BJ, logsumexp_B=logsumexp_B)
    prob_BC.scatter_(1, class_ids_BJ[:, :-1], 0.0)
    tail_B = prob_BC.sum(1)
    # A sum of C numbers, each of which may be too small: the bound is C times higher.
    if tail_B.amin().item() < smallest * z_BC.shape[1]:
        return stable_softmax_block(z_BC, class_ids_BJ, with_split=with_split)
    return SoftmaxBlock(
        prob_BC=prob_BC,
        logits_BJ=logits_BJ,
        logsumexp_B=logsumexp_B,
        split=TailSplit(kept_BK=prob_BJ[:, :-1], log_tail_B=tail_B.log(), sum_B=tail_B),
    )


def stable_softmax_block(z_BC: Tensor, class_ids_BJ: Tensor, *, with_split: bool) -> SoftmaxBlock:
    """The same for any logits, slower, and without reading a value back: also for GPUs."""
    logits_BJ = z_BC.gather(1, class_ids_BJ)
    if not with_split:
        return SoftmaxBlock(
            prob_BC=z_BC.softmax(1), logits_BJ=logits_BJ, logsumexp_B=z_BC.logsumexp(1)
        )
    outside_BC = z_BC.scatter(1, class_ids_BJ[:, :-1], -torch.inf)
    logsumexp_outside_B = outside_BC.logsumexp(1)
    # A class that is repeated after the first rank counts once (targets.py).
    is_again_BJ = class_ids_BJ == class_ids_BJ[:, :1]
    is_again_BJ[:, 0] = False
    logsumexp_kept_B = logits_BJ.masked_fill(is_again_BJ, -torch.inf)[:, :-1].logsumexp(1)
    logsumexp_B = torch.logaddexp(logsumexp_kept_B, logsumexp_outside_B)
    log_tail_B = logsumexp_outside_B - logsumexp_B
    split = TailSplit(
        kept_BK=(logits_BJ[:, :-1] - logsumexp_B[:, None]).exp(),
        log_tail_B=log_tail_B,
        # Normalized among themselves: exp(log_tail) itself may be 0.
        sum_B=torch.ones_like(log_tail_B),
    )
    return SoftmaxBlock(
        prob_BC=outside_BC.softmax(1), logits_BJ=logits_BJ, logsumexp_B=logsumexp_B, split=split
    )


def _join(blocks: Sequence[Tensor | None]) -> Tensor | None:
    present = [block for block in blocks if block is not None]
    return torch.cat(present) if present else None
