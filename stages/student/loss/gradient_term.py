"""Closed-form gradient of a cross-entropy: (total mass) * softmax(z / T) - target.

Shapes: N frames, B frames of a block, C classes, K kept classes, J = K + 1 target classes.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from stages.student.loss.softmax_block import SoftmaxBlock
from stages.student.loss.targets import BatchTargets, SparseTarget, split_optional


@dataclass(frozen=True, slots=True, kw_only=True)
class GradientTerm:
    """One softmax that a loss needs, at `temperature`, and the target it is compared with.

    The gradient is `total_N1` times the softmax, plus `added_NJ` at the target classes, less
    `every_mass_N1` at every class; the bucket's mass is distributed over the classes outside the
    kept ones.
    """

    class_ids_NJ: Tensor
    temperature: float
    total_N1: Tensor
    added_NJ: Tensor
    every_mass_N1: Tensor | None
    bucket_mass_N: Tensor | None

    @classmethod
    def of(
        cls,
        target: SparseTarget,
        class_ids_NJ: Tensor,
        *,
        temperature: float,
        num_classes: int,
    ) -> Self:
        """The term of a target that has been multiplied by the frame weights."""
        every_mass_N = target.every_mass_N
        return cls(
            class_ids_NJ=class_ids_NJ,
            temperature=temperature,
            total_N1=target.total_N(num_classes=num_classes)[:, None],
            added_NJ=-target.mass_NJ,
            every_mass_N1=None if every_mass_N is None else every_mass_N[:, None],
            bucket_mass_N=target.bucket_mass_N,
        )

    def split(self, block_frames: int) -> list[Self]:
        """Blocks of frames, as views."""
        ids = torch.split(self.class_ids_NJ, block_frames)
        totals = torch.split(self.total_N1, block_frames)
        added = torch.split(self.added_NJ, block_frames)
        every = split_optional(self.every_mass_N1, block_frames, num_blocks=len(ids))
        buckets = split_optional(self.bucket_mass_N, block_frames, num_blocks=len(ids))
        return [
            type(self)(
                class_ids_NJ=ids_BJ,
                temperature=self.temperature,
                total_N1=total_B1,
                added_NJ=added_BJ,
                every_mass_N1=every_B1,
                bucket_mass_N=bucket_B,
            )
            for ids_BJ, total_B1, added_BJ, every_B1, bucket_B in zip(
                ids, totals, added, every, buckets, strict=True
            )
        ]

    def write_gradient(self, softmax: SoftmaxBlock, *, out_BC: Tensor) -> Tensor:
        """Write the gradient to `out_BC`, which may be the memory of `softmax.prob_BC`."""
        split = softmax.split
        if split is None or self.bucket_mass_N is None:
            torch.mul(softmax.prob_BC, self.total_N1, out=out_BC)
        else:
            # d/dz_j of -m ln(tail) is -m p_j / tail outside: all of it is proportional to p_j.
            outside_B = self.total_N1[:, 0] * split.log_tail_B.exp() - self.bucket_mass_N
            torch.mul(softmax.prob_BC, (outside_B / split.sum_B)[:, None], out=out_BC)
            # Not added: the softmax is 0 there, and a class that is repeated has one value.
            out_BC.scatter_(1, self.class_ids_NJ[:, :-1], self.total_N1 * split.kept_BK)
        out_BC.scatter_add_(1, self.class_ids_NJ, self.added_NJ)
        return out_BC if self.every_mass_N1 is None else out_BC.sub_(self.every_mass_N1)


def gradient_terms(targets: BatchTargets, *, num_classes: int) -> list[GradientTerm]:
    """The terms of a batch: the first has the soft target, the last is at temperature 1.

    At temperature 1 hard and soft labels share a softmax, and are one term. Otherwise there are
    two: the soft target at T, and the hard label at 1.
    """
    soft, hard_weight = targets.soft, targets.hard_weight
    temperature, weights_N = targets.temperature, targets.weights_N
    label_mass_N = weights_N * targets.labelled_N * hard_weight
    if soft is not None and temperature == 1:
        both = soft.scaled(weights_N * (1 - hard_weight)).with_label_mass(label_mass_N)
        scaled = [(1.0, both)]
    else:
        scaled = [(1.0, SparseTarget(mass_NJ=label_mass_N[:, None]))]
        if soft is not None:  # T^2 of the soft loss, times 1 / T by the chain rule through z / T
            tempered = soft.scaled(weights_N * ((1 - hard_weight) * temperature))
            scaled.insert(0, (temperature, tempered))
    return [
        GradientTerm.of(
            target,
            targets.class_ids_NJ[:, -target.mass_NJ.shape[1] :],
            temperature=each,
            num_classes=num_classes,
        )
        for each, target in scaled
    ]
