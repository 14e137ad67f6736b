"""hidden activations, output layer, labels -> loss: a chunk of frames at a time, no logits kept.

The loss of fused.py, of logits that are hidden @ weight^T + bias. Logits of a chunk are made,
turned into their gradient where they lie, and that is spent at once on the gradients of hidden
activations, weight and bias. So a batch never holds (N, C), and computes nothing twice.

Shapes: N frames, B frames of a chunk, H hidden channels, C classes, K kept ranks.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stages.student.loss.frame_losses import frame_losses
from stages.student.loss.frame_weights import Lesson, make_lesson
from stages.student.loss.fused import LossParts, scaled_once
from stages.student.loss.targets import TailPolicy, blocks_of

CHUNK_FRAMES = 512  # the products of fewer are slower, of more no faster


def essence_linear_loss(
    hidden_NH: Tensor,
    weight_CH: Tensor,
    bias_C: Tensor | None,
    labels_N: Tensor,
    ids_NK: Tensor,
    logp_NK: Tensor,
    tail_N: Tensor,
    *,
    hard_weight: float,
    tail: TailPolicy,
    temperature: float = 1.0,
    frame_weights_N: Tensor | None = None,
    chunk_frames: int = CHUNK_FRAMES,
) -> LossParts:
    """`essence_loss` of `linear(hidden_NH, weight_CH, bias_C)`, which is never whole in memory.

    Under autocast the products are in its type, sums over chunks in float32. The result differs
    from that of the two functions by rounding: products of other sizes add in another order.

    Args:
        hidden_NH: activations before the output layer, float32 or float64 or a half type.
        weight_CH: the output layer's.
        bias_C: the output layer's; None where it has none.
        chunk_frames: logits of so many frames are in memory.

    The other arguments are those of `essence_loss`.
    """
    kind = hidden_NH.device.type
    product_dtype = hidden_NH.dtype
    if torch.is_autocast_enabled(kind):
        product_dtype = torch.get_autocast_dtype(kind)
    lesson = make_lesson(
        labels_N,
        ids_NK,
        logp_NK,
        tail_N,
        num_classes=len(weight_CH),
        hard_weight=hard_weight,
        tail=tail,
        temperature=temperature,
        frame_weights_N=frame_weights_N,
        logits_dtype=product_dtype,
    )
    total, hard_mean, soft_mean = _LinearEssenceLoss.apply(  # type: ignore[no-untyped-call]
        hidden_NH,
        weight_CH,
        bias_C,
        lesson,
        _Plan(
            dtype=product_dtype,
            chunk_frames=chunk_frames,
            with_gradient=torch.is_grad_enabled(),
        ),
    )
    return LossParts(total=total, hard=hard_mean, soft=soft_mean, num_frames=lesson.num_live_frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """How the products are made."""

    dtype: torch.dtype
    chunk_frames: int
    with_gradient: bool


class _LinearEssenceLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        weight_CH: Tensor,
        bias_C: Tensor | None,
        lesson: Lesson,
        plan: "_Plan",
    ) -> tuple[Tensor, Tensor, Tensor]:
        wanted = [plan.with_gradient and needed for needed in ctx.needs_input_grad[:3]]
        gradients = [
            torch.zeros_like(values, dtype=torch.promote_types(values.dtype, torch.float32))
            if values is not None and is_wanted
            else None
            for values, is_wanted in zip((hidden_NH, weight_CH, bias_C), wanted, strict=True)
        ]
        with torch.autocast(hidden_NH.device.type, enabled=False):
            hard_N, soft_N = _chunk_by_chunk(
                hidden_NH.to(plan.dtype),
                weight_CH.to(plan.dtype),
                None if bias_C is None else bias_C.to(plan.dtype),
                lesson,
                gradients,
                plan.chunk_frames,
            )
            total, hard_mean, soft_mean = lesson.means(hard_N, soft_N)
        ctx.factor_for = lesson.factor_for
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden_NH, weight_CH, bias_C)]
        ctx.save_for_backward(*gradients)
        ctx.mark_non_differentiable(hard_mean, soft_mean)
        return total, hard_mean, soft_mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        factor = ctx.factor_for(scale)
        gradients = [
            None if gradient is None else scaled_once(gradient, factor).to(dtype)
            for gradient, dtype in zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        ]
        return (*gradients, None, None)


def _chunk_by_chunk(
    hidden_NH: Tensor,
    weight_CH: Tensor,
    bias_C: Tensor | None,
    lesson: Lesson,
    gradients: list[Tensor | None],
    chunk_frames: int,
) -> tuple[Tensor, Tensor]:
    """Hard and soft loss of every frame; adds to the gradients of hidden, weight, bias."""
    to_hidden_NH, to_weight_CH, to_bias_C = gradients
    spent = blocks_of(hidden_NH if to_hidden_NH is None else to_hidden_NH, chunk_frames)
    with_gradient = any(gradient is not None for gradient in gradients)
    losses = []
    room_BC = hidden_NH.new_empty(min(chunk_frames, len(hidden_NH)), len(weight_CH))
    for hidden_BH, chunk, to_hidden_BH in zip(
        blocks_of(hidden_NH, chunk_frames), lesson.split(chunk_frames), spent, strict=True
    ):
        z_BC = room_BC[: len(hidden_BH)]
        torch.mm(hidden_BH, weight_CH.T, out=z_BC)
        if bias_C is not None:
            z_BC += bias_C
        losses.append(
            frame_losses(
                z_BC, chunk, gradient_NC=z_BC if with_gradient else None, block_frames=None
            )
        )
        if to_hidden_NH is not None:
            _write_product(to_hidden_BH, z_BC, weight_CH)
        if to_weight_CH is not None:
            _add_product(to_weight_CH, z_BC.T, hidden_BH)
        if to_bias_C is not None:
            to_bias_C += z_BC.sum(0, dtype=to_bias_C.dtype)
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
