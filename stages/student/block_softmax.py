"""BlockSoftmax: the student's softmax of some frames, and what a target costs and pulls there.

A cost is -log of a probability the student gives, always as logsumexp - logit and never by the
logarithm of a sum that was rounded. Where a target has a bucket, the softmax is split: the
classes outside the kept ranks get a softmax of their own, so that the student's tail mass is
exact however small it is (1 - sum loses it below 1e-7).

Shapes: B frames of a block, C classes, K kept ranks.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.student.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSoftmax:
    """`prob_BC` is the softmax; when split, that over the classes outside `ids_BK` (there 0).

    `cost_of_outside_B` is the cost of the event "outside", only when split.
    `gradient` uses `prob_BC` up: call it last.
    """

    logits_BC: Tensor
    labels_B: Tensor
    ids_BK: Tensor
    prob_BC: Tensor
    logsumexp_B: Tensor
    cost_of_kept_BK: Tensor
    cost_of_label_B: Tensor
    cost_of_outside_B: Tensor | None

    def cross_entropy(self, target: Target) -> Tensor:
        """Mass times cost, summed over where the target has mass: nats (B,)."""
        loss_B = (target.kept_NK * self.cost_of_kept_BK).sum(1)
        loss_B += target.label_N * self.cost_of_label_B
        if target.others_N is not None:
            all_costs_B = self._num_classes * (self.logsumexp_B - self.logits_BC.mean(1))
            loss_B += target.others_N * (all_costs_B - self.cost_of_kept_BK.sum(1))
        if target.bucket_N is not None and self.cost_of_outside_B is not None:
            loss_B += target.bucket_N * self.cost_of_outside_B
        return loss_B

    def gradient(self, target: Target, share_B: Tensor) -> Tensor:
        """`share_B` times (mass * softmax - target), (B, C), written over `prob_BC`."""
        mass_B = target.mass_N(num_others=self._num_classes - self.ids_BK.shape[1])
        if target.bucket_N is not None and self.cost_of_outside_B is not None:
            # Outside, softmax = prob * tail, and the bucket's pull is shared out by prob.
            pull_B = mass_B * (-self.cost_of_outside_B).exp() - target.bucket_N
            kept_BK = mass_B[:, None] * (-self.cost_of_kept_BK).exp() - target.kept_NK
            self.prob_BC.mul_((share_B * pull_B)[:, None])
            self.prob_BC.scatter_(1, self.ids_BK, share_B[:, None] * kept_BK)
        else:
            self.prob_BC.mul_((share_B * mass_B)[:, None])
            given_BK = target.kept_NK
            if target.others_N is not None:
                self.prob_BC.sub_((share_B * target.others_N)[:, None])
                given_BK = given_BK - target.others_N[:, None]
            self.prob_BC.scatter_add_(1, self.ids_BK, -share_B[:, None] * given_BK)
        given_B1 = (-share_B * target.label_N)[:, None]
        return self.prob_BC.scatter_add_(1, self.labels_B[:, None], given_B1)

    @property
    def _num_classes(self) -> int:
        return self.logits_BC.shape[1]


def block_softmax(
    logits_BC: Tensor, labels_B: Tensor, ids_BK: Tensor, *, split: bool
) -> BlockSoftmax:
    """Softmax and costs of a block; `split` where a target has a bucket (then K < C)."""
    kept_BK = logits_BC.gather(1, ids_BK)
    if split:
        outside_BC = logits_BC.scatter(1, ids_BK, -torch.inf)
        prob_BC, logsumexp_outside_B = _softmax(outside_BC)
        logsumexp_B = torch.logaddexp(kept_BK.logsumexp(1), logsumexp_outside_B)
        cost_of_outside_B = logsumexp_B - logsumexp_outside_B
    else:
        prob_BC, logsumexp_B = _softmax(logits_BC)
        cost_of_outside_B = None
    return BlockSoftmax(
        logits_BC=logits_BC,
        labels_B=labels_B,
        ids_BK=ids_BK,
        prob_BC=prob_BC,
        logsumexp_B=logsumexp_B,
        cost_of_kept_BK=logsumexp_B[:, None] - kept_BK,
        cost_of_label_B=logsumexp_B - logits_BC.gather(1, labels_B[:, None])[:, 0],
        cost_of_outside_B=cost_of_outside_B,
    )


def label_softmax(logits_BC: Tensor, labels_B: Tensor) -> BlockSoftmax:
    """The same where only the label matters: K = 0."""
    return block_softmax(logits_BC, labels_B, labels_B.new_empty(len(labels_B), 0), split=False)


def _softmax(z_BC: Tensor) -> tuple[Tensor, Tensor]:
    # The largest probability is 1 / sum exp(z - max): torch's fused softmax gives both at once.
    prob_BC = z_BC.softmax(1)
    return prob_BC, z_BC.amax(1) - prob_BC.amax(1).log()
