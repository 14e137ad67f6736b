"""Frame weights: how much every frame counts in the means over a batch, and in the gradient.

Shapes: N frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from stages.student.loss.definition import LossParts
from stages.student.loss.options import LossOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameWeights:
    """`mean_N` sums to 1 over the batch, `hard_mean_N` over its labelled frames.

    `soft_mean_N` sums to 1 over its frames with soft labels. `labelled_N` is 1 where a
    frame has a hard label, otherwise 0. `weights_N` are the weights as they were given, 0 where a
    frame has nothing to learn from; `sum` is their sum. All sums are 0 in a batch without any such
    frame.

    float16 cannot hold the gradient of a mean over many frames: it underflows below 6e-8. When
    `has_gradient_of_sum`, the gradient of the weighted sum is stored instead, and divided by
    `sum` in the backward pass, where a loss scaler has made it larger.
    """

    labelled_N: Tensor
    weights_N: Tensor
    sum: Tensor
    mean_N: Tensor
    hard_mean_N: Tensor
    soft_mean_N: Tensor
    has_gradient_of_sum: bool
    counts_every_frame: bool

    @property
    def gradient_N(self) -> Tensor:
        """Weights in the stored gradient."""
        return self.mean_N * self.sum if self.has_gradient_of_sum else self.mean_N

    @property
    def gradient_divisor(self) -> Tensor | None:
        """What the stored gradient is divided by in the backward pass; None for 1."""
        return self.sum if self.has_gradient_of_sum else None

    def means(self, hard_N: Tensor, soft_N: Tensor, *, hard_weight: float) -> LossParts:
        """Weighted means of the frames' hard and soft losses."""
        total_N = hard_weight * hard_N + (1 - hard_weight) * soft_N
        return LossParts(
            total=(total_N * self.mean_N).sum(),
            hard=(hard_N * self.hard_mean_N).sum(),
            soft=(soft_N * self.soft_mean_N).sum(),
            num_frames=self._num_frames(),
        )

    def _num_frames(self) -> int:
        # Counting on a GPU makes the host wait for it: not done when the answer is N anyway.
        if self.counts_every_frame:
            return len(self.weights_N)
        return int((self.weights_N > 0).sum())


def make_frame_weights(
    labels_N: Tensor,
    options: LossOptions,
    frame_weights_N: Tensor | None,
    *,
    logits_dtype: torch.dtype,
    present_N: Tensor | None = None,
) -> FrameWeights:
    """Weights of a batch; 1 for every frame when `frame_weights_N` is None.

    `present_N` is that of the soft targets.
    """
    dtype = torch.promote_types(logits_dtype, torch.float32)
    labelled_N = (labels_N >= 0).to(dtype)
    if frame_weights_N is None:
        weights_N, hard_weights_N = torch.ones_like(labelled_N), labelled_N
    else:
        weights_N = frame_weights_N.to(dtype)
        hard_weights_N = weights_N * labelled_N
    if options.hard_weight == 1:  # an unlabelled frame has nothing to learn from
        weights_N = hard_weights_N
    elif present_N is not None:
        counts_N = torch.where(labelled_N * options.hard_weight > 0, 1, present_N.to(dtype))
        weights_N = weights_N * counts_N
    whole = _divisor(weights_N)
    mean_N = soft_mean_N = weights_N / whole
    if present_N is not None:
        soft_weights_N = weights_N * present_N
        soft_mean_N = soft_weights_N / _divisor(soft_weights_N)
    return FrameWeights(
        labelled_N=labelled_N,
        weights_N=weights_N,
        sum=whole,
        mean_N=mean_N,
        soft_mean_N=soft_mean_N,
        hard_mean_N=hard_weights_N / _divisor(hard_weights_N),
        has_gradient_of_sum=logits_dtype == torch.float16,
        counts_every_frame=(
            frame_weights_N is None and present_N is None and options.hard_weight < 1
        ),
    )


def _divisor(weights_N: Tensor) -> Tensor:
    # Never 0: the loss of a batch in which no frame counts is 0, not NaN.
    whole = weights_N.sum()
    return torch.where(whole > 0, whole, 1)
