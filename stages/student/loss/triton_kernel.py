"""A Triton kernel: losses and gradient of a frame in one pass over its row, held in registers.

Frame by frame the same as frame_losses.py, under every tail policy and at any temperature, with
masked logsumexps throughout. Half types are read and written as they are and computed in float32.

It has been run in Triton's interpreter only, against the float64 definition: never on a GPU. How
fast it is there, and whether it compiles for one, is not known.

Shapes: N frames, C classes, J = K + 1 named classes: the kept ranks, then the label.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from stages.student.loss.frame_weights import Lesson

MOST_CLASSES = 1 << 15  # a row of float32 in the registers of 1024 threads
MOST_RANKS = 64  # each is compared with the whole row
CLASSES_A_WARP = 1024


def fits(logits_NC: Tensor, lesson: Lesson) -> bool:
    """Whether the kernel can take these frames."""
    return (
        lesson.dtype == torch.float32
        and 0 < logits_NC.shape[1] <= MOST_CLASSES
        and lesson.index_NJ.shape[1] <= MOST_RANKS + 1
        and len(logits_NC) > 0
        and logits_NC.stride(1) == 1
    )


def row_losses(
    logits_NC: Tensor, lesson: Lesson, *, gradient_NC: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Hard loss (N,) and soft loss (N,); writes the gradient, which may lie over the logits."""
    num_frames, num_classes = logits_NC.shape
    hard_N, soft_N = torch.zeros_like(lesson.share_N), torch.zeros_like(lesson.share_N)
    soft = lesson.soft
    nothing = lesson.share_N  # stands where a target has nothing; not read
    width = triton.next_power_of_2(num_classes)
    _row[(num_frames,)](
        logits_NC,
        logits_NC.stride(0),
        logits_NC if gradient_NC is None else gradient_NC,
        0 if gradient_NC is None else gradient_NC.stride(0),
        lesson.index_NJ.contiguous(),
        nothing if soft is None else soft.named_NJ.contiguous(),
        nothing if soft is None else soft.mass_N(num_classes=num_classes),
        nothing if soft is None or soft.others_N is None else soft.others_N.contiguous(),
        nothing if soft is None or soft.bucket_N is None else soft.bucket_N.contiguous(),
        lesson.known_N,
        lesson.pull_share_N,
        hard_N,
        soft_N,
        lesson.hard_weight,
        lesson.temperature,
        num_classes,
        num_ranks=lesson.index_NJ.shape[1] - 1,
        width=width,
        has_soft=soft is not None,
        has_others=soft is not None and soft.others_N is not None,
        has_bucket=soft is not None and soft.bucket_N is not None,
        with_gradient=gradient_NC is not None,
        num_warps=min(32, max(4, width // CLASSES_A_WARP)),
    )
    return hard_N, soft_N


@triton.jit  # type: ignore[untyped-decorator]
def _row(  # type: ignore[no-untyped-def]
    logits,
    logits_stride,
    gradient,
    gradient_stride,
    index,
    named,
    mass,
    others,
    bucket,
    known,
    share,
    hard_out,
    soft_out,
    hard_weight,
    temperature,
    num_classes,
    num_ranks: tl.constexpr,
    width: tl.constexpr,
    has_soft: tl.constexpr,
    has_others: tl.constexpr,
    has_bucket: tl.constexpr,
    with_gradient: tl.constexpr,
):
    frame = tl.program_id(0).to(tl.int64)
    classes = tl.arange(0, width)
    is_class = classes < num_classes
    row = logits + frame * logits_stride + classes
    z = tl.load(row, mask=is_class, other=-float("inf")).to(tl.float32)
    of_frame = frame * (num_ranks + 1)
    is_label = classes == tl.load(index + of_frame + num_ranks)
    is_known = tl.load(known + frame)
    share_of_frame = tl.load(share + frame)

    peak = tl.max(z, 0)
    raised = tl.exp(z - peak)
    total = tl.sum(raised, 0)
    label_cost = peak + tl.log(total) - tl.sum(tl.where(is_label, z, 0.0), 0)
    tl.store(hard_out + frame, label_cost * is_known)
    pull = (raised / total - tl.where(is_label, 1.0, 0.0)) * (hard_weight * is_known)

    if has_soft:
        target = tl.where(is_label, tl.load(named + of_frame + num_ranks), 0.0)
        is_outside = is_class
        for rank in tl.static_range(num_ranks):
            is_rank = classes == tl.load(index + of_frame + rank)
            target += tl.where(is_rank, tl.load(named + of_frame + rank), 0.0)
            is_outside = is_outside & (is_rank == 0)
        if has_others:
            target += tl.where(is_outside, tl.load(others + frame), 0.0)
        cool = z / temperature
        peak = tl.max(cool, 0)
        raised = tl.exp(cool - peak)
        total = tl.sum(raised, 0)
        logsumexp = peak + tl.log(total)
        loss = tl.sum(target * tl.where(is_class, logsumexp - cool, 0.0), 0)
        asked = tl.load(mass + frame) * raised / total
        if has_bucket:
            in_bucket = tl.load(bucket + frame)
            outside = tl.where(is_outside, cool, -float("inf"))
            peak = tl.max(outside, 0)
            raised = tl.exp(outside - peak)
            total = tl.sum(raised, 0)
            log_tail = peak + tl.log(total) - logsumexp
            loss -= in_bucket * log_tail
            of_outside = (tl.load(mass + frame) * tl.exp(log_tail) - in_bucket) / total
            asked = tl.where(is_outside, of_outside * raised, asked)
        tl.store(soft_out + frame, loss * temperature * temperature)
        # T^2 of the loss times the 1 / T of z / T.
        pull += (asked - target) * ((1.0 - hard_weight) * temperature)

    if with_gradient:
        # The whole row has been read by now: it may be the one that is written.
        out = gradient + frame * gradient_stride + classes
        tl.store(out, (pull * share_of_frame).to(gradient.dtype.element_ty), mask=is_class)
