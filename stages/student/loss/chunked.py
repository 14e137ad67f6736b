"""hidden activations, output layer, labels -> loss: chunk by chunk, never all logits at once.

The logits of a chunk of frames are computed, overwritten with their gradient, and used at once
for the gradients of hidden activations, weight and bias. No (N, C) tensor is ever in memory, and
nothing is computed twice.

Shapes: N frames, B frames of a chunk, H hidden channels, C classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from stages.student.loss.definition import LossParts, SoftTargets
from stages.student.loss.frame_losses import frame_losses
from stages.student.loss.frame_weights import make_frame_weights
from stages.student.loss.fused import with_gradients
from stages.student.loss.options import LossOptions
from stages.student.loss.targets import BatchTargets, make_batch_targets, split_optional

CHUNK_FRAMES = 512  # matrix products of fewer frames are slower, of more frames no faster


def essence_linear_loss(
    hidden_NH: Tensor,
    weight_CH: Tensor,
    bias_C: Tensor | None,
    labels_N: Tensor,
    soft: SoftTargets,
    options: LossOptions,
    *,
    frame_weights_N: Tensor | None = None,
    chunk_frames: int = CHUNK_FRAMES,
) -> LossParts:
    """`essence_loss` of `linear(hidden_NH, weight_CH, bias_C)`, without holding its result.

    Under autocast, matrix products are in its dtype and sums over chunks in float32. The result
    differs from that of the two functions by rounding, since products of other sizes add in
    another order.

    Args:
        hidden_NH: input of the output layer: float32, float64 or a half type.
        weight_CH: weight of the output layer.
        bias_C: bias of the output layer, or None.
        chunk_frames: number of frames whose logits are in memory at the same time.

    The other arguments are those of `essence_loss`.
    """
    inputs = (hidden_NH, weight_CH, bias_C)
    gradients = _Gradients(*map(_zeros_for_gradient, inputs))
    dtype = _dtype_of_products(hidden_NH)
    with torch.no_grad(), torch.autocast(hidden_NH.device.type, enabled=False):
        weights = make_frame_weights(
            labels_N, options, frame_weights_N, logits_dtype=dtype, present_N=soft.present_N
        )
        targets = make_batch_targets(labels_N, soft, options, weights, num_classes=len(weight_CH))
        layer = _Layer(
            hidden_NH=hidden_NH.to(dtype),
            weight_CH=weight_CH.to(dtype),
            bias_C=None if bias_C is None else bias_C.to(dtype),
        )
        hard_N, soft_N = _chunk_by_chunk(layer, gradients, targets, chunk_frames)
        parts = weights.means(hard_N, soft_N, hard_weight=options.hard_weight)
    return with_gradients(parts, inputs, gradients, divisor=weights.gradient_divisor)


class _Layer(NamedTuple):
    """The output layer and its input, in the dtype of the products."""

    hidden_NH: Tensor
    weight_CH: Tensor
    bias_C: Tensor | None


class _Gradients(NamedTuple):
    """Gradients of the output layer and its input; None for those that need none."""

    hidden_NH: Tensor | None
    weight_CH: Tensor | None
    bias_C: Tensor | None


def _dtype_of_products(hidden_NH: Tensor) -> torch.dtype:
    device_type = hidden_NH.device.type
    if torch.is_autocast_enabled(device_type):
        return torch.get_autocast_dtype(device_type)
    return hidden_NH.dtype


def _zeros_for_gradient(values: Tensor | None) -> Tensor | None:
    if values is None or not (torch.is_grad_enabled() and values.requires_grad):
        return None
    # At least float32: many chunks are added up.
    return torch.zeros_like(values, dtype=torch.promote_types(values.dtype, torch.float32))


def _chunk_by_chunk(
    layer: _Layer, gradients: _Gradients, targets: BatchTargets, chunk_frames: int
) -> tuple[Tensor, Tensor]:
    """Hard and soft loss of every frame; adds to `gradients`."""
    hidden_NH, weight_CH, bias_C = layer
    with_gradient = any(gradient is not None for gradient in gradients)
    logits_BC = hidden_NH.new_empty(min(chunk_frames, len(hidden_NH)), len(weight_CH))
    losses = []
    for hidden_BH, chunk, to_hidden_BH in zip(
        chunks := torch.split(hidden_NH, chunk_frames),
        targets.split(chunk_frames),
        split_optional(gradients.hidden_NH, chunk_frames, num_blocks=len(chunks)),
        strict=True,
    ):
        z_BC = logits_BC[: len(hidden_BH)]
        torch.mm(hidden_BH, weight_CH.T, out=z_BC)
        if bias_C is not None:
            z_BC += bias_C
        losses.append(frame_losses(z_BC, chunk, gradient_NC=z_BC if with_gradient else None))
        # From here z_BC is the gradient of the chunk's logits.
        if to_hidden_BH is not None:
            _write_product(to_hidden_BH, z_BC, weight_CH)
        if gradients.weight_CH is not None:
            _add_product(gradients.weight_CH, z_BC.T, hidden_BH)
        if gradients.bias_C is not None:
            gradients.bias_C.add_(z_BC.sum(0, dtype=gradients.bias_C.dtype))
    hard_N, soft_N = zip(*losses, strict=True)
    return torch.cat(hard_N), torch.cat(soft_N)


def _write_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    if out.dtype == left.dtype:
        torch.mm(left, right, out=out)
    else:
        out.copy_(left @ right)


def _add_product(out: Tensor, left: Tensor, right: Tensor) -> None:
    if out.dtype == left.dtype:
        out.addmm_(left, right)
    else:
        out += left @ right
