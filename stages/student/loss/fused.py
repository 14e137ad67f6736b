"""logits, hard labels, soft labels -> loss: closed-form gradient, exact in the student's tail.

A target t (see targets.py) costs the student its cross-entropy, and pulls on its logits z by

    loss = (sum t) logsumexp(z) - sum_j t_j z_j        gradient = (sum t) softmax(z) - t

A frame costs  hard_weight * hard + (1 - hard_weight) * soft.  `soft` is the cross-entropy to the
soft target, not the divergence from it: they differ by the target's entropy, which no student
can change. With it, the losses of hard and soft labels are on one scale, and k = C with
hard_weight = 0 is the dense cross-entropy.

At a temperature T other than 1, `logp_NK` and `tail_N` are the teacher's *at T* (the tail cannot
be tempered afterwards). The soft loss is then T^2 times the cross-entropy of softmax(z / T), in
what is reported as in the gradient; the hard loss stays at 1.

The gradient of a block of frames is computed while the block is in cache, and lands in one
buffer of the logits' size. Nothing else of width C outlives a block.

Shapes: N frames, B frames of a block, C classes, K kept ranks.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stages.student.loss.frame_losses import frame_losses
from stages.student.loss.frame_weights import Lesson, make_lesson
from stages.student.loss.targets import TailPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class LossParts:
    """A loss and its parts, means over frames, in nats. Only `total` carries a gradient.

    `num_frames` counts the live frames: weight above 0, and a label or a soft term to learn from.
    `hard` is the mean over those of them that have a label. `soft` is 0 when hard_weight is 1.
    """

    total: Tensor
    hard: Tensor
    soft: Tensor
    num_frames: int


def essence_loss(
    logits_NC: Tensor,
    labels_N: Tensor,
    ids_NK: Tensor,
    logp_NK: Tensor,
    tail_N: Tensor,
    *,
    hard_weight: float,
    tail: TailPolicy,
    temperature: float = 1.0,
    frame_weights_N: Tensor | None = None,
    in_place: bool = False,
    block_frames: int | None = None,
) -> LossParts:
    """Mean loss of frames against hard labels (weight `hard_weight`) and soft labels (the rest).

    Drop padding before. A frame whose label is NO_LABEL (-1) has no hard term: its soft term
    counts with weight 1 - hard_weight, and with hard_weight = 1 the frame is not live. Means are
    weighted by `frame_weights_N` (>= 0). No live frame: loss 0, gradient 0.

    Args:
        logits_NC: float32, float64, or a half type (computed in float32).
        labels_N: integer classes, or -1.
        ids_NK: integer classes, distinct within a frame. Not checked here. K may be 0 when
            hard_weight is 1.
        logp_NK: the teacher's log-probabilities (nats) of those classes, at `temperature`.
        tail_N: the teacher's mass outside them, at `temperature`.
        hard_weight: 0 to 1.
        tail: what becomes of the tail mass.
        temperature: above 0.
        frame_weights_N: 1 for every frame when left out.
        in_place: the gradient overwrites the logits. Safe where nothing else needs them: the
            output of a linear layer. Autograd raises where that does not hold.
        block_frames: frames at a time; chosen by device when left out.
    """
    lesson = make_lesson(
        labels_N,
        ids_NK,
        logp_NK,
        tail_N,
        num_classes=logits_NC.shape[1],
        hard_weight=hard_weight,
        tail=tail,
        temperature=temperature,
        frame_weights_N=frame_weights_N,
        logits_dtype=logits_NC.dtype,
    )
    gradient_NC = None
    if torch.is_grad_enabled() and logits_NC.requires_grad:
        gradient_NC = logits_NC.detach() if in_place else torch.empty_like(logits_NC)
    total, hard_mean, soft_mean = _EssenceLoss.apply(  # type: ignore[no-untyped-call]
        logits_NC, lesson, gradient_NC, block_frames
    )
    counts_all = frame_weights_N is None and hard_weight < 1  # else a device has to be asked
    return LossParts(
        total=total,
        hard=hard_mean,
        soft=soft_mean,
        num_frames=len(logits_NC) if counts_all else lesson.num_live_frames,
    )


class _EssenceLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        logits_NC: Tensor,
        lesson: Lesson,
        gradient_NC: Tensor | None,
        block_frames: int | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        hard_N, soft_N = frame_losses(
            logits_NC, lesson, gradient_NC=gradient_NC, block_frames=block_frames
        )
        total, hard_mean, soft_mean = lesson.means(hard_N, soft_N)
        ctx.factor_for = lesson.factor_for
        ctx.save_for_backward(gradient_NC)
        ctx.mark_non_differentiable(hard_mean, soft_mean)
        return total, hard_mean, soft_mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient_NC,) = ctx.saved_tensors
        return scaled_once(gradient_NC, ctx.factor_for(scale)), None, None, None


def scaled_once(gradient: Tensor, factor: Tensor) -> Tensor:
    """A saved gradient times `factor`.

    In place: autograd then refuses a second backward, instead of scaling twice.
    """
    if torch.compiler.is_compiling():  # it lays out memory and branches itself
        return gradient * factor
    is_one = factor.device.type == "cpu" and factor.item() == 1  # asking a GPU would stall it
    return gradient if is_one else gradient.mul_(factor)
