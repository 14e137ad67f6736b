"""Targets: what the student is asked to say, from kept ranks, their tail mass and a hard label.

A target spends its mass in four places, so that nothing of width C is ever made of it. The
five tail policies differ only in where they put the mass that the kept ranks do not have.

Shapes: N frames, C classes, K kept ranks.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

TailPolicy = Literal["renormalize", "bucket", "uniform", "truth", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Mass per frame: on each kept class, on the label, on each other class, on all others as one.

    `others_N` is the mass of *each* class outside the kept ones, `bucket_N` that of the single
    event "outside the kept ones". None where the target puts nothing there.
    """

    kept_NK: Tensor
    label_N: Tensor
    others_N: Tensor | None = None
    bucket_N: Tensor | None = None

    def mass_N(self, *, num_others: int) -> Tensor:
        """The whole mass of each frame: what the gradient multiplies the student's softmax by."""
        mass_N = self.kept_NK.sum(1) + self.label_N
        if self.others_N is not None:
            mass_N = mass_N + self.others_N * num_others
        return mass_N if self.bucket_N is None else mass_N + self.bucket_N

    def mixed_with_label(self, known_N: Tensor, *, hard_weight: float) -> Self:
        """`hard_weight` on the label where it is known, the rest on this target."""
        soft_weight = 1.0 - hard_weight
        return type(self)(
            kept_NK=self.kept_NK * soft_weight,
            label_N=self.label_N * soft_weight + known_N * hard_weight,
            others_N=None if self.others_N is None else self.others_N * soft_weight,
            bucket_N=None if self.bucket_N is None else self.bucket_N * soft_weight,
        )

    def rows(self, rows: slice) -> Self:
        """The same of some frames."""
        return type(self)(
            kept_NK=self.kept_NK[rows],
            label_N=self.label_N[rows],
            others_N=None if self.others_N is None else self.others_N[rows],
            bucket_N=None if self.bucket_N is None else self.bucket_N[rows],
        )


def label_target(known_N: Tensor) -> Target:
    """All mass on the label; none where the label is unknown. No rank is kept."""
    return Target(kept_NK=known_N.new_empty(len(known_N), 0), label_N=known_N)


def soft_target(
    logp_NK: Tensor, tail_N: Tensor, known_N: Tensor, *, tail: TailPolicy, num_classes: int
) -> Target:
    """The soft target of each frame under a tail policy (DESIGN 8).

    `known_N` is 1 where the hard label is known and 0 where not: there `truth` has nobody to give
    the tail to and renormalises instead. With K = C there is no class outside, and no tail.
    """
    num_others = num_classes - logp_NK.shape[1]
    nowhere_N = torch.zeros_like(known_N)
    if tail == "renormalize":
        # From the logs: a row of tiny probabilities stays exact.
        return Target(kept_NK=logp_NK.softmax(1), label_N=nowhere_N)
    kept_NK = logp_NK.exp()
    if tail == "drop" or not num_others:
        return Target(kept_NK=kept_NK, label_N=nowhere_N)
    if tail == "bucket":
        return Target(kept_NK=kept_NK, label_N=nowhere_N, bucket_N=tail_N)
    if tail == "uniform":
        return Target(kept_NK=kept_NK, label_N=nowhere_N, others_N=tail_N / num_others)
    has_label_N1 = known_N[:, None] > 0
    return Target(
        kept_NK=torch.where(has_label_N1, kept_NK, logp_NK.softmax(1)), label_N=tail_N * known_N
    )
