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

from stages.student.block_softmax import block_softmax, label_softmax
from stages.student.targets import TailPolicy, Target, label_target, soft_target

BLOCK_ELEMENTS = {"cpu": 1 << 19, "cuda": 1 << 25}  # cpu: 2 MiB of float32 stay in cache


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
    assert 0 <= hard_weight <= 1
    assert temperature > 0
    num_frames, num_classes = logits_NC.shape
    dtype = torch.promote_types(logits_NC.dtype, torch.float32)
    known_N = (labels_N >= 0).to(dtype)
    weights_N = torch.ones_like(known_N) if frame_weights_N is None else frame_weights_N.to(dtype)
    live_N = weights_N * known_N if hard_weight == 1 else weights_N
    soft = None
    if hard_weight < 1:
        soft = soft_target(
            logp_NK.to(dtype), tail_N.to(dtype), known_N, tail=tail, num_classes=num_classes
        )
    work = _Work(
        labels_N=labels_N.clamp(min=0).long(),
        ids_NK=ids_NK,
        hard=label_target(known_N),
        soft=soft,
        hard_weight=hard_weight,
        temperature=temperature,
        share_N=_shares(live_N),
        hard_share_N=_shares(live_N * known_N),
        in_place=in_place,
        with_gradient=torch.is_grad_enabled() and logits_NC.requires_grad,
        block_frames=block_frames
        or max(1, BLOCK_ELEMENTS.get(logits_NC.device.type, 1 << 25) // num_classes),
    )
    total, hard_mean, soft_mean = _EssenceLoss.apply(logits_NC, work)  # type: ignore[no-untyped-call]
    counts_all = frame_weights_N is None and hard_weight < 1  # else a device has to be asked
    return LossParts(
        total=total,
        hard=hard_mean,
        soft=soft_mean,
        num_frames=num_frames if counts_all else int((live_N > 0).sum()),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What the loss needs beside the logits. `share_N` is what a frame counts in the mean."""

    labels_N: Tensor
    ids_NK: Tensor
    hard: Target
    soft: Target | None
    hard_weight: float
    temperature: float
    share_N: Tensor
    hard_share_N: Tensor
    in_place: bool
    with_gradient: bool
    block_frames: int


def _shares(weights_N: Tensor) -> Tensor:
    # Divided only where there is something: a batch without live frames has loss 0, not NaN.
    whole = weights_N.sum()
    return weights_N / torch.where(whole > 0, whole, 1)


class _EssenceLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_NC: Tensor, work: _Work) -> tuple[Tensor, Tensor, Tensor]:
        gradient_NC = None
        if work.with_gradient:
            gradient_NC = logits_NC.detach() if work.in_place else torch.empty_like(logits_NC)
        hard_N = torch.zeros_like(work.share_N)
        soft_N = torch.zeros_like(work.share_N)
        for start in range(0, len(logits_NC), work.block_frames):
            rows = slice(start, start + work.block_frames)
            hard_N[rows], soft_N[rows], slope_BC = _block(logits_NC[rows], work, rows)
            if gradient_NC is not None:
                gradient_NC[rows] = slope_BC
        hard_mean = (hard_N * work.hard_share_N).sum()
        soft_mean = (soft_N * work.share_N).sum()
        mixed_N = work.hard_weight * hard_N + (1 - work.hard_weight) * soft_N
        ctx.save_for_backward(gradient_NC)
        ctx.mark_non_differentiable(hard_mean, soft_mean)
        return (mixed_N * work.share_N).sum(), hard_mean, soft_mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        (gradient_NC,) = ctx.saved_tensors
        # Scaled in place: autograd then refuses a second backward, instead of scaling twice.
        is_one = scale.device.type == "cpu" and scale.item() == 1  # asking a GPU would stall it
        return (gradient_NC if is_one else gradient_NC.mul_(scale)), None


def _block(logits_BC: Tensor, work: _Work, rows: slice) -> tuple[Tensor, Tensor, Tensor]:
    """Hard loss (B,), soft loss (B,), and the gradient of the mean (B, C), of some frames."""
    z_BC = logits_BC.to(work.share_N.dtype)
    labels_B, share_B = work.labels_N[rows], work.share_N[rows]
    hard = work.hard.rows(rows)
    if work.soft is None:
        block = label_softmax(z_BC, labels_B)
        hard_B = block.cross_entropy(hard)
        return hard_B, torch.zeros_like(hard_B), block.gradient(hard, share_B)
    soft, ids_BK = work.soft.rows(rows), work.ids_NK[rows].long()
    temperature = work.temperature
    if temperature == 1:  # both terms pull on the same softmax: one pass
        block = block_softmax(z_BC, labels_B, ids_BK, split=soft.bucket_N is not None)
        hard_B, soft_B = block.cost_of_label_B * hard.label_N, block.cross_entropy(soft)
        mixed = soft.mixed_with_label(hard.label_N, hard_weight=work.hard_weight)
        return hard_B, soft_B, block.gradient(mixed, share_B)
    tempered = block_softmax(z_BC / temperature, labels_B, ids_BK, split=soft.bucket_N is not None)
    plain = label_softmax(z_BC, labels_B)
    hard_B, soft_B = plain.cross_entropy(hard), tempered.cross_entropy(soft) * temperature**2
    gradient_BC = plain.gradient(hard, share_B * work.hard_weight)
    # T^2 of the loss times the 1/T of z / T.
    soft_share_B = share_B * ((1 - work.hard_weight) * temperature)
    return hard_B, soft_B, gradient_BC.add_(tempered.gradient(soft, soft_share_B))
