"""The student's loss by definition: dense, in plain torch. Every other form computes the same.

A frame with hard label y, soft target q (over the C classes) and student logits z costs

    hard_weight * CE(onehot(y), softmax(z)) + (1 - hard_weight) * T^2 * CE(q, softmax(z / T))

where CE(q, p) = -sum_j q_j ln p_j. It differs from the divergence KL(q || p) by the entropy of q,
which the student cannot change; hard and soft losses are then on one scale. T^2 keeps the size of
the soft gradient independent of the temperature T (Hinton, Vinyals, Dean 2015).

For each frame the teacher kept a set S of n <= K classes with probabilities p_j at temperature T,
and the probability m of all other classes together, the tail. The tail policy completes the target:

    renormalize   q_j = p_j / sum of p over S    nothing outside S
    bucket        q_j = p_j on S                 m on the single event "a class outside S"
    uniform       q_j = p_j on S                 m / (C - n) on each class outside S
    truth         q_j = p_j on S                 m on y; without a hard label: renormalize
    drop          q_j = p_j on S                 nothing: q sums to 1 - m

A frame without a hard label has its soft loss alone, one without soft labels its hard loss alone,
weighted as above. A frame with neither does not count.

Shapes: N frames, C classes, K kept classes, n <= K of them in a frame of a pruned store.
"""

from dataclasses import dataclass, replace
from typing import assert_never

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from stages.student.loss.options import LossOptions, TailPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftTargets:
    """The teacher's K most probable classes of N frames, at the temperature of the loss.

    `ids_NK` are integers, distinct within a frame (not checked). `logp_NK` are log-probabilities
    in nats. `tail_N` is the probability of all other classes together. K may be 0 when
    hard_weight is 1. `present_N` is 1 where a frame has soft labels, otherwise 0, and its distinct
    ids, finite log-probabilities and tail do not count; None if all frames have them.
    `count_N` is n: what ranks after it hold does not count; None if all frames have K ranks.
    """

    ids_NK: Tensor
    logp_NK: Tensor
    tail_N: Tensor
    present_N: Tensor | None = None
    count_N: Tensor | None = None

    @property
    def is_absent_NK(self) -> Tensor | None:
        """Is this rank after the count? None if all frames have K ranks."""
        if self.count_N is None:
            return None
        return (
            torch.arange(self.ids_NK.shape[1], device=self.ids_NK.device) >= self.count_N[:, None]
        )

    def masked(self) -> "SoftTargets":
        """The same with ranks after the count that repeat the first class, and have no mass."""
        is_absent_NK = self.is_absent_NK
        if is_absent_NK is None:
            return self
        return replace(
            self,
            ids_NK=torch.where(is_absent_NK, self.ids_NK[:, :1], self.ids_NK),
            logp_NK=self.logp_NK.masked_fill(is_absent_NK, -torch.inf),
        )

    def num_outside_N(self, *, num_classes: int) -> Tensor:
        """How many classes have the tail together, as the dtype of the tail."""
        if self.count_N is None:
            return torch.full_like(self.tail_N, num_classes - self.ids_NK.shape[1])
        return num_classes - self.count_N.to(self.tail_N.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParts:
    """A loss and its parts: weighted means over frames, in nats. Only `total` has a gradient.

    `num_frames` counts the frames that contribute: their weight is above 0, and they have a hard
    label (hard_weight above 0) or soft labels (hard_weight below 1). `hard` is the mean over all
    with a hard label, `soft` over all with soft labels, and 0 when hard_weight is 1.
    """

    total: Tensor
    hard: Tensor
    soft: Tensor
    num_frames: int


def dense_loss(
    logits_NC: Tensor,
    labels_N: Tensor,
    soft: SoftTargets,
    options: LossOptions,
    *,
    frame_weights_N: Tensor | None = None,
) -> LossParts:
    """The loss as defined above. Holds several (N, C) tensors; can be differentiated twice.

    Arguments and result are those of `essence_loss`.
    """
    labelled_N = (labels_N >= 0).to(logits_NC.dtype)
    weights_N = torch.ones_like(labelled_N) if frame_weights_N is None else frame_weights_N
    hard_N = cross_entropy(logits_NC, labels_N.clamp(min=0).long(), reduction="none") * labelled_N
    hard_weights_N = weights_N * labelled_N
    present_N = torch.ones_like(labelled_N) if soft.present_N is None else soft.present_N
    if options.hard_weight == 1:
        weights_N, soft_N = hard_weights_N, torch.zeros_like(hard_N)
    else:
        tempered_NC = logits_NC / options.temperature
        soft_N = options.temperature**2 * _soft_loss(tempered_NC, labels_N, soft, options.tail)
        soft_N = soft_N * present_N
        weights_N = weights_N * torch.where(labelled_N * options.hard_weight > 0, 1, present_N)
    return LossParts(
        total=_mean(options.hard_weight * hard_N + (1 - options.hard_weight) * soft_N, weights_N),
        hard=_mean(hard_N.detach(), hard_weights_N),
        soft=_mean(soft_N.detach(), weights_N * present_N),
        num_frames=int((weights_N > 0).sum()),
    )


def _soft_loss(z_NC: Tensor, labels_N: Tensor, soft: SoftTargets, tail: TailPolicy) -> Tensor:
    """CE(q, softmax(z)) of every frame."""
    soft = soft.masked()
    log_student_NC, ids_NK = z_NC.log_softmax(1), soft.ids_NK.long()
    outside_NC = torch.ones_like(z_NC).scatter(1, ids_NK, 0.0)
    num_outside_N1 = outside_NC.sum(1, keepdim=True)
    # Added: ranks after the count repeat a class, with no mass.
    target_NC = torch.zeros_like(z_NC).scatter_add(1, ids_NK, soft.logp_NK.exp())
    renormalized_NC = torch.zeros_like(z_NC).scatter_add(1, ids_NK, soft.logp_NK.softmax(1))
    has_tail_N1 = num_outside_N1 > 0
    tail_N1 = torch.where(has_tail_N1, soft.tail_N[:, None], 0.0)
    if tail == "renormalize":
        target_NC = renormalized_NC
    elif tail == "bucket" or tail == "drop":
        pass  # the kept classes alone; the bucket follows below
    elif tail == "uniform":
        target_NC = target_NC + outside_NC * tail_N1 / num_outside_N1.clamp(min=1)
    elif tail == "truth":
        to_label_NC = target_NC + tail_N1 * one_hot(labels_N.clamp(min=0).long(), z_NC.shape[1])
        is_whole_N1 = (labels_N[:, None] >= 0) | ~has_tail_N1
        target_NC = torch.where(is_whole_N1, to_label_NC, renormalized_NC)
    else:
        assert_never(tail)  # mypy reports a policy that no branch handles
    loss_N = -(target_NC * log_student_NC).sum(1)
    if tail == "bucket":
        # Where nothing is outside, the sum is over all classes: its tail is 0.
        is_kept_NC = (outside_NC == 0) & has_tail_N1
        log_outside_N = log_student_NC.masked_fill(is_kept_NC, -torch.inf).logsumexp(1)
        loss_N = loss_N - tail_N1[:, 0] * log_outside_N
    return loss_N


def _mean(values_N: Tensor, weights_N: Tensor) -> Tensor:
    whole = weights_N.sum()
    return (values_N * weights_N).sum() / torch.where(whole > 0, whole, 1)
