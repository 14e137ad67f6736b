"""logits, hard labels, soft targets -> loss, with its closed-form gradient: no dense target.

For a target t (targets.py) and logits z, cross-entropy and gradient are

    loss = (sum t) logsumexp(z) - sum_j t_j z_j        gradient = (sum t) softmax(z) - t

Both are computed in the forward pass; the backward pass multiplies the stored gradient.

Shapes: N frames, C classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stages.student.loss.definition import LossParts, SoftTargets
from stages.student.loss.frame_losses import frame_losses
from stages.student.loss.frame_weights import make_frame_weights
from stages.student.loss.options import LossOptions
from stages.student.loss.targets import make_batch_targets


def essence_loss(
    logits_NC: Tensor,
    labels_N: Tensor,
    soft: SoftTargets,
    options: LossOptions,
    *,
    frame_weights_N: Tensor | None = None,
    in_place: bool = False,
) -> LossParts:
    """Mean loss of frames against hard labels and soft targets, as `dense_loss` defines it.

    Remove padding first. A frame with label -1 has no hard loss: it has its soft loss, weighted
    1 - hard_weight; when hard_weight is 1 it does not count. A frame without soft labels has its
    hard loss, weighted hard_weight. Means are weighted by `frame_weights_N`. If no frame counts,
    loss and gradient are 0.

    The result can be differentiated once; for second derivatives use `dense_loss`.

    Args:
        logits_NC: float32, float64, or a half type, for which the computation is in float32.
        labels_N: integer classes, or -1.
        soft: the teacher's kept classes, at `options.temperature`.
        options: hard weight, tail policy, temperature.
        frame_weights_N: at least 0; None for 1.
        in_place: overwrite the logits with the gradient. Safe when no other operation needs them,
            as the output of a linear layer; otherwise autograd raises in the backward pass.
    """
    gradient_NC = None
    if torch.is_grad_enabled() and logits_NC.requires_grad:
        gradient_NC = logits_NC.detach() if in_place else torch.empty_like(logits_NC)
    with torch.no_grad():
        weights = make_frame_weights(
            labels_N,
            options,
            frame_weights_N,
            logits_dtype=logits_NC.dtype,
            present_N=soft.present_N,
        )
        targets = make_batch_targets(
            labels_N, soft, options, weights, num_classes=logits_NC.shape[1]
        )
        hard_N, soft_N = frame_losses(logits_NC, targets, gradient_NC=gradient_NC)
        parts = weights.means(hard_N, soft_N, hard_weight=options.hard_weight)
    return with_gradients(parts, [logits_NC], [gradient_NC], divisor=weights.gradient_divisor)


def with_gradients(
    parts: LossParts,
    inputs: Sequence[Tensor | None],
    gradients: Sequence[Tensor | None],
    *,
    divisor: Tensor | None,
) -> LossParts:
    """The same loss, as a function of `inputs` whose gradients have been computed already.

    `gradients` are `divisor` times those of `parts.total`; None for an input without one.
    """
    if all(gradient is None for gradient in gradients):
        return parts
    total = _ComputedGradients.apply(  # type: ignore[no-untyped-call]
        parts.total, divisor, *gradients, *inputs
    )
    return replace(parts, total=total)


class _ComputedGradients(torch.autograd.Function):
    """A loss as a function of its inputs, by stored gradients."""

    @staticmethod
    def forward(
        ctx: Any, total: Tensor, divisor: Tensor | None, *gradients_and_inputs: Tensor | None
    ) -> Tensor:
        num_inputs = len(gradients_and_inputs) // 2
        inputs = gradients_and_inputs[num_inputs:]
        ctx.divisor = divisor
        ctx.dtypes = [None if each is None else each.dtype for each in inputs]
        ctx.save_for_backward(*gradients_and_inputs[:num_inputs])
        return total.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_of_total: Tensor) -> tuple[Tensor | None, ...]:
        factor = gradient_of_total
        if ctx.divisor is not None:
            factor = factor / ctx.divisor
        nothing = (None,) * (2 + len(ctx.dtypes))
        return *nothing, *(
            None if gradient is None else _multiplied_once(gradient, factor).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        )


def _multiplied_once(gradient: Tensor, factor: Tensor) -> Tensor:
    # In place, which makes autograd refuse a second backward pass instead of multiplying twice.
    if torch.compiler.is_compiling():  # a compiler plans memory itself, and cannot branch
        return gradient * factor
    is_one = factor.device.type == "cpu" and factor.item() == 1  # reading it back stalls a GPU
    return gradient if is_one else gradient.mul_(factor)
