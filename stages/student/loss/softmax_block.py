"""BlockSoftmax: the student's softmax of some frames, and what a target pulls there.

The softmax of a block is one call of torch, in a scratch that stays in cache. Everything else that
a loss needs follows from it: the logsumexp from one named class, as logit - log(probability), the
student's tail as the sum of what lies outside the kept ranks (never 1 - sum). Where those would be
too small for their type, the block is computed once more, by masked logsumexps.

Shapes: B frames of a block, C classes, J = K + 1 named classes: the kept ranks, then the label.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Split:
    """The softmax inside and outside the kept ranks: `kept_BK`, and the log of the rest's sum.

    `prob_BC` is then 0 at the kept ranks, and outside in proportion to the softmax; it sums to
    `sum_B`.
    """

    kept_BK: Tensor
    log_tail_B: Tensor
    sum_B: Tensor


@dataclass(frozen=True, slots=True)
class BlockSoftmax:
    """`prob_BC` is the softmax, `z_BJ` are the logits of the named classes."""

    prob_BC: Tensor
    z_BJ: Tensor
    logsumexp_B: Tensor
    split: Split | None = None

    def pull(
        self,
        mass_B1: Tensor,
        pull_BJ: Tensor,
        index_BJ: Tensor,
        bucket_B: Tensor | None,
        *,
        out_BC: Tensor,
    ) -> Tensor:
        """mass * softmax, less the bucket, plus what pulls on the named classes; to `out_BC`."""
        if self.split is None or bucket_B is None:
            torch.mul(self.prob_BC, mass_B1, out=out_BC)
            return out_BC.scatter_add_(1, index_BJ, pull_BJ)
        # Outside, the bucket's pull is shared out in proportion to the student's own softmax.
        outside_B = mass_B1[:, 0] * self.split.log_tail_B.exp() - bucket_B
        torch.mul(self.prob_BC, (outside_B / self.split.sum_B)[:, None], out=out_BC)
        out_BC.scatter_add_(1, index_BJ[:, :-1], mass_B1 * self.split.kept_BK)
        return out_BC.scatter_add_(1, index_BJ, pull_BJ)


def block_softmax(
    z_BC: Tensor, index_BJ: Tensor, *, split: bool, scratch_BC: Tensor
) -> BlockSoftmax:
    """The softmax of logits, which stay as they are. `prob_BC` lies in the scratch.

    `split` where a target has a bucket (then K < C).
    """
    smallest = torch.finfo(z_BC.dtype).tiny * 1e8  # below, a float begins to lose digits
    prob_BC = torch.softmax(z_BC, 1, out=scratch_BC)
    z_BJ, prob_BJ = z_BC.gather(1, index_BJ), prob_BC.gather(1, index_BJ)
    best_B = prob_BJ.amax(1)
    if best_B.amin().item() < smallest:
        return careful_block_softmax(z_BC, index_BJ, split=split)
    logsumexp_B = z_BJ.amax(1) - best_B.log()
    if not split:
        return BlockSoftmax(prob_BC, z_BJ, logsumexp_B)
    prob_BC.scatter_(1, index_BJ[:, :-1], 0.0)
    tail_B = prob_BC.sum(1)
    if tail_B.amin().item() < smallest * z_BC.shape[1]:
        return careful_block_softmax(z_BC, index_BJ, split=split)
    return BlockSoftmax(prob_BC, z_BJ, logsumexp_B, Split(prob_BJ[:, :-1], tail_B.log(), tail_B))


def careful_block_softmax(z_BC: Tensor, index_BJ: Tensor, *, split: bool) -> BlockSoftmax:
    """The same, slower, for any logits: no probability's logarithm is taken, nothing is asked."""
    z_BJ = z_BC.gather(1, index_BJ)
    if not split:
        return BlockSoftmax(z_BC.softmax(1), z_BJ, z_BC.logsumexp(1))
    outside_BC = z_BC.scatter(1, index_BJ[:, :-1], -torch.inf)
    logsumexp_outside_B = outside_BC.logsumexp(1)
    logsumexp_B = torch.logaddexp(z_BJ[:, :-1].logsumexp(1), logsumexp_outside_B)
    kept_BK = (z_BJ[:, :-1] - logsumexp_B[:, None]).exp()
    log_tail_B = logsumexp_outside_B - logsumexp_B
    split_B = Split(kept_BK, log_tail_B, torch.ones_like(log_tail_B))
    return BlockSoftmax(outside_BC.softmax(1), z_BJ, logsumexp_B, split_B)
