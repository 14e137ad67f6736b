"""Targets: what the student is asked to say, from kept ranks, their tail mass and a hard label.

A target spends its mass in three places, so that nothing of width C is ever made of it. The
five tail policies differ only in where they put the mass that the kept ranks do not have.

Shapes: N frames, C classes, K kept ranks, J = K + 1 named classes: the kept ranks, then the label.
"""

from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

TailPolicy = Literal["renormalize", "bucket", "uniform", "truth", "drop"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Mass per frame: on each named class, on each class that is not kept, on those as one.

    `others_N` is the mass of *each* class outside the kept ones, `bucket_N` that of the single
    event "outside the kept ones". None where the target puts nothing there. The label may be one
    of the kept classes: then what it gets twice adds up.
    """

    named_NJ: Tensor
    others_N: Tensor | None = None
    bucket_N: Tensor | None = None

    @property
    def num_kept(self) -> int:
        """K."""
        return self.named_NJ.shape[1] - 1

    def mass_N(self, *, num_classes: int) -> Tensor:
        """The whole mass of each frame: what the gradient multiplies the student's softmax by."""
        mass_N = self.named_NJ.sum(1)
        if self.others_N is not None:
            mass_N = mass_N + self.others_N * (num_classes - self.num_kept)
        return mass_N if self.bucket_N is None else mass_N + self.bucket_N

    def scaled(self, factor_N: Tensor) -> Self:
        """Frame by frame a multiple of it."""
        return type(self)(
            named_NJ=self.named_NJ * factor_N[:, None],
            others_N=None if self.others_N is None else self.others_N * factor_N,
            bucket_N=None if self.bucket_N is None else self.bucket_N * factor_N,
        )

    def with_label(self, label_N: Tensor) -> Self:
        """So much more on the label."""
        named_NJ = self.named_NJ.clone()
        named_NJ[:, -1] += label_N
        return type(self)(named_NJ=named_NJ, others_N=self.others_N, bucket_N=self.bucket_N)

    def split(self, block_frames: int) -> list[Self]:
        """The same in blocks of frames."""
        named = blocks_of(self.named_NJ, block_frames)
        nothing = (None,) * len(named)
        others = nothing if self.others_N is None else blocks_of(self.others_N, block_frames)
        bucket = nothing if self.bucket_N is None else blocks_of(self.bucket_N, block_frames)
        return [
            type(self)(named_NJ=x, others_N=y, bucket_N=z)
            for x, y, z in zip(named, others, bucket, strict=True)
        ]


def blocks_of(values: Tensor, block_frames: int) -> tuple[Tensor, ...]:
    """Views of so many rows, in order."""
    blocks: tuple[Tensor, ...] = values.split(block_frames)  # type: ignore[no-untyped-call]
    return blocks


def soft_target(
    logp_NK: Tensor, tail_N: Tensor, known_N: Tensor, *, tail: TailPolicy, num_classes: int
) -> Target:
    """The soft target of each frame under a tail policy (DESIGN 8).

    `known_N` is 1 where the hard label is known and 0 where not: there `truth` has nobody to give
    the tail to and renormalises instead. With K = C there is no class outside, and no tail.
    """
    num_others = num_classes - logp_NK.shape[1]
    nothing_N = torch.zeros_like(known_N)
    if tail == "renormalize":
        # From the logs: a row of tiny probabilities stays exact.
        return Target(named_NJ=_named(_renormalized(logp_NK), nothing_N))
    kept_NK = logp_NK.exp()
    if tail == "drop" or not num_others:
        return Target(named_NJ=_named(kept_NK, nothing_N))
    if tail == "bucket":
        return Target(named_NJ=_named(kept_NK, nothing_N), bucket_N=tail_N)
    if tail == "uniform":
        return Target(named_NJ=_named(kept_NK, nothing_N), others_N=tail_N / num_others)
    has_label_N1 = known_N[:, None] > 0
    kept_NK = torch.where(has_label_N1, kept_NK, _renormalized(logp_NK))
    return Target(named_NJ=_named(kept_NK, tail_N * known_N))


def _renormalized(logp_NK: Tensor) -> Tensor:
    # The softmax: torch's own takes five times as long over so few columns.
    scaled_NK = (logp_NK - logp_NK.amax(1, keepdim=True)).exp_()
    return scaled_NK.div_(scaled_NK.sum(1, keepdim=True))


def _named(kept_NK: Tensor, label_N: Tensor) -> Tensor:
    return torch.cat([kept_NK, label_N[:, None]], dim=1)
