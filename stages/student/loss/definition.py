"""The student's loss by definition: dense, in plain torch. Every other form computes the same.

A frame with hard label y, soft target q (over the C classes) and student logits z costs

    hard_weight * CE(onehot(y), softmax(z)) + (1 - hard_weight) * T^2 * CE(q, softmax(z / T))

where CE(q, p) = -sum_j q_j ln p_j. It differs from the divergence KL(q || p) by the entropy of q,
which the student cannot change; hard and soft losses are then on one scale. T^2 keeps the size of
the soft gradient independent of the temperature T (Hinton, Vinyals, Dean 2015).

For each frame the teacher kept a set S of K classes with probabilities p_j at temperature T, and
the probability m of all other classes together, the tail. The tail policy completes the target:

    renormalize   q_j = p_j / sum of p over S    nothing outside S
    bucket        q_j = p_j on S                 m on the single event "a class outside S"
    uniform       q_j = p_j on S                 m / (C - K) on each class outside S
    truth         q_j = p_j on S                 m on y; without a hard label: renormalize
    drop          q_j = p_j on S                 nothing: q sums to 1 - m

A frame without a hard label has its soft loss alone, one without soft labels its hard loss alone,
weighted as above. A frame with neither does not count.

Shapes: N frames, C classes, K kept classes.
"""

from dataclasses import dataclass
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
    """

    ids_NK: Tensor
    logp_NK: Tensor
    tail_N: Tensor
    present_N: Tensor | None = None


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
    log_student_NC, ids_NK = z_NC.log_softmax(1), soft.ids_NK.long()
    outside_NC = torch.ones_like(z_NC).scatter(1, ids_NK, 0.0)
    num_outside = z_NC.shape[1] - ids_NK.shape[1]
    target_NC = torch.zeros_like(z_NC).scatter(1, ids_NK, soft.logp_NK.exp())
    renormalized_NC = torch.zeros_like(z_NC).scatter(1, ids_NK, soft.logp_NK.softmax(1))
    tail_N1 = soft.tail_N[:, None]
    if tail == "renormalize":
        target_NC = renormalized_NC
    elif tail == "bucket" or tail == "drop" or not num_outside:
        pass  # the kept classes alone; the bucket follows below
    elif tail == "uniform":
        target_NC = target_NC + outside_NC * tail_N1 / num_outside
    elif tail == "truth":
        to_label_NC = target_NC + tail_N1 * one_hot(labels_N.clamp(min=0).long(), z_NC.shape[1])
        target_NC = torch.where(labels_N[:, None] >= 0, to_label_NC, renormalized_NC)
    else:
        assert_never(tail)  # mypy reports a policy that no branch handles
    loss_N = -(target_NC * log_student_NC).sum(1)
    if tail == "bucket" and num_outside:
        log_outside_NC = log_student_NC.masked_fill(outside_NC == 0, -torch.inf)
        loss_N = loss_N - soft.tail_N * log_outside_NC.logsumexp(1)
    return loss_N


def _mean(values_N: Tensor, weights_N: Tensor) -> Tensor:
    whole = weights_N.sum()
    return (values_N * weights_N).sum() / torch.where(whole > 0, whole, 1)
