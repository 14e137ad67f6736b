"""Sparse targets: the soft targets and hard labels of a batch, as masses on K + 1 classes a frame.

A target puts its mass in three places, so that no (N, C) target is ever made: on the kept classes
and the label one by one, on all C classes alike, and on the single event "a class outside the kept
ones". The five tail policies (definition.py) differ in nothing else.

A frame of a pruned store has fewer than K classes: its other ranks repeat the first one without
mass. So what is added up over target classes needs no mask, and a set of them has no more classes.

Shapes: N frames, C classes, K kept classes, J = K + 1 target classes: the kept, then the label.
"""

from dataclasses import dataclass, replace
from typing import Self, assert_never

import torch
from torch import Tensor

from stages.student.loss.definition import SoftTargets
from stages.student.loss.frame_weights import FrameWeights
from stages.student.loss.options import LossOptions, TailPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseTarget:
    """Target mass of N frames.

    `mass_NJ` is on each target class. A label that is one of the kept classes has two entries
    there, which add up. `every_mass_N` is on *each* of all C classes, and `mass_NJ` of a kept one
    is then without it. `bucket_mass_N` is on all classes outside the kept ones as one event. None
    when no frame has such mass.
    """

    mass_NJ: Tensor
    every_mass_N: Tensor | None = None
    bucket_mass_N: Tensor | None = None

    def total_N(self, *, num_classes: int) -> Tensor:
        """The whole mass of each frame."""
        total_N = self.mass_NJ.sum(1)
        if self.every_mass_N is not None:
            total_N = total_N + self.every_mass_N * num_classes
        return total_N if self.bucket_mass_N is None else total_N + self.bucket_mass_N

    def scaled(self, factor_N: Tensor) -> Self:
        """Every frame's mass times its factor."""
        return type(self)(
            mass_NJ=self.mass_NJ * factor_N[:, None],
            every_mass_N=None if self.every_mass_N is None else self.every_mass_N * factor_N,
            bucket_mass_N=None if self.bucket_mass_N is None else self.bucket_mass_N * factor_N,
        )

    def with_label_mass(self, label_mass_N: Tensor) -> Self:
        """More mass on the label."""
        mass_NJ = self.mass_NJ.clone()
        mass_NJ[:, -1] += label_mass_N
        return type(self)(
            mass_NJ=mass_NJ, every_mass_N=self.every_mass_N, bucket_mass_N=self.bucket_mass_N
        )

    def split(self, block_frames: int) -> list[Self]:
        """Blocks of frames, as views."""
        masses = torch.split(self.mass_NJ, block_frames)
        every = split_optional(self.every_mass_N, block_frames, num_blocks=len(masses))
        buckets = split_optional(self.bucket_mass_N, block_frames, num_blocks=len(masses))
        return [
            type(self)(mass_NJ=mass_BJ, every_mass_N=every_B, bucket_mass_N=bucket_B)
            for mass_BJ, every_B, bucket_B in zip(masses, every, buckets, strict=True)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTargets:
    """All that the losses and gradients of N frames depend on, next to their logits.

    `class_ids_NJ` is 0 for a label that is not there; `labelled_N` is 1 where it is, otherwise 0.
    Without a soft target (hard_weight is 1) the label is the only target class. `weights_N` are
    the frame weights of the gradient.
    """

    class_ids_NJ: Tensor
    labelled_N: Tensor
    soft: SparseTarget | None
    weights_N: Tensor
    hard_weight: float
    temperature: float

    @property
    def dtype(self) -> torch.dtype:
        """dtype of the computation: float32, or float64 for float64 logits."""
        return self.weights_N.dtype

    def split(self, block_frames: int) -> list[Self]:
        """Blocks of frames, as views."""
        ids = torch.split(self.class_ids_NJ, block_frames)
        labelled = torch.split(self.labelled_N, block_frames)
        weights = torch.split(self.weights_N, block_frames)
        soft = [None] * len(ids) if self.soft is None else self.soft.split(block_frames)
        return [
            type(self)(
                class_ids_NJ=ids_BJ,
                labelled_N=labelled_B,
                soft=soft_B,
                weights_N=weights_B,
                hard_weight=self.hard_weight,
                temperature=self.temperature,
            )
            for ids_BJ, labelled_B, weights_B, soft_B in zip(
                ids, labelled, weights, soft, strict=True
            )
        ]


def make_batch_targets(
    labels_N: Tensor,
    soft: SoftTargets,
    options: LossOptions,
    weights: FrameWeights,
    *,
    num_classes: int,
) -> BatchTargets:
    """The targets of a batch. Its soft targets are not read when hard_weight is 1."""
    class_ids_NJ, sparse = labels_N.clamp(min=0).long()[:, None], None
    if options.hard_weight < 1:
        if options.tail == "bucket":
            soft = _with_a_class_outside(soft, num_classes=num_classes)
        soft = soft.masked()
        class_ids_NJ = torch.cat([soft.ids_NK.long(), class_ids_NJ], dim=1)
        sparse = sparse_target(soft, weights.labelled_N, tail=options.tail, num_classes=num_classes)
        if soft.present_N is not None:  # a target without mass has no loss and no gradient
            sparse = sparse.scaled(soft.present_N.to(weights.labelled_N.dtype))
    return BatchTargets(
        class_ids_NJ=class_ids_NJ,
        labelled_N=weights.labelled_N,
        soft=sparse,
        weights_N=weights.gradient_N,
        hard_weight=options.hard_weight,
        temperature=options.temperature,
    )


def sparse_target(
    soft: SoftTargets, labelled_N: Tensor, *, tail: TailPolicy, num_classes: int
) -> SparseTarget:
    """The soft target of every frame under a tail policy, in the dtype of `labelled_N`.

    `labelled_N` is 1 where a frame has a hard label, otherwise 0. `soft` is masked. A frame that
    keeps all C classes has no tail.
    """
    logp_NK, tail_N = soft.logp_NK.to(labelled_N.dtype), soft.tail_N.to(labelled_N.dtype)
    no_mass_N = torch.zeros_like(labelled_N)
    if tail == "renormalize":
        return SparseTarget(mass_NJ=_kept_then_label(_renormalized(logp_NK), no_mass_N))
    kept_NK = logp_NK.exp()
    if tail == "drop" or (soft.count_N is None and logp_NK.shape[1] == num_classes):
        return SparseTarget(mass_NJ=_kept_then_label(kept_NK, no_mass_N))
    num_outside_N = soft.num_outside_N(num_classes=num_classes).to(labelled_N.dtype)
    tail_N = torch.where(num_outside_N > 0, tail_N, 0)
    if tail == "bucket":
        return SparseTarget(mass_NJ=_kept_then_label(kept_NK, no_mass_N), bucket_mass_N=tail_N)
    if tail == "uniform":
        every_N = tail_N / num_outside_N.clamp(min=1)
        less_NK = kept_NK - every_N[:, None]
        if soft.is_absent_NK is not None:
            less_NK.masked_fill_(soft.is_absent_NK, 0)
        return SparseTarget(mass_NJ=_kept_then_label(less_NK, no_mass_N), every_mass_N=every_N)
    if tail == "truth":
        # A frame without a label has no class to give its tail to, and is renormalized.
        is_whole_N1 = ((labelled_N > 0) | (num_outside_N == 0))[:, None]
        kept_NK = torch.where(is_whole_N1, kept_NK, _renormalized(logp_NK))
        return SparseTarget(mass_NJ=_kept_then_label(kept_NK, tail_N * labelled_N))
    assert_never(tail)  # mypy reports a policy that no branch handles


def _with_a_class_outside(soft: SoftTargets, *, num_classes: int) -> SoftTargets:
    """The same loss, with the last class of frames that keep all C as their event "outside".

    An event of no class has probability 0, whose logarithm no gradient gets through.
    """
    if soft.count_N is None or soft.ids_NK.shape[1] < num_classes:
        return soft
    tail_N = torch.where(soft.count_N == num_classes, soft.logp_NK[:, -1].exp(), soft.tail_N)
    return replace(soft, count_N=soft.count_N.clamp(max=num_classes - 1), tail_N=tail_N)


def split_optional(
    values_N: Tensor | None, block_frames: int, *, num_blocks: int
) -> tuple[Tensor | None, ...]:
    """Blocks of frames, as views; None for every block when there are no values."""
    if values_N is None:
        return (None,) * num_blocks
    return torch.split(values_N, block_frames)


def _renormalized(logp_NK: Tensor) -> Tensor:
    # A softmax of the logs, so that a frame whose kept probabilities are all tiny stays exact.
    # By hand: torch.softmax takes five times as long over so few columns.
    scaled_NK = (logp_NK - logp_NK.amax(1, keepdim=True)).exp_()
    return scaled_NK.div_(scaled_NK.sum(1, keepdim=True))


def _kept_then_label(kept_NK: Tensor, label_N: Tensor) -> Tensor:
    return torch.cat([kept_NK, label_N[:, None]], dim=1)
