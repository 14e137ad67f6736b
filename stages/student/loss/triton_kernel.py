"""A Triton kernel: loss and gradient of a frame in one pass over its logits, held in registers.

The same as frame_losses.py in torch, under every tail policy and at any temperature, with masked
logsumexps throughout. Half types are read and written as they are, and computed in float32.

It has been run in Triton's interpreter only, against the dense definition: never on a GPU. Whether
it compiles for one, and how fast it is there, is not known.

Shapes: N frames, C classes, J = K + 1 target classes: the kept classes, then the label.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from stages.student.loss.targets import BatchTargets

MAX_CLASSES = 1 << 15  # a row of float32 in the registers of 1024 threads
MAX_KEPT = 64  # each kept class is compared with the whole row
CLASSES_PER_WARP = 1024


def supports(logits_NC: Tensor, targets: BatchTargets) -> bool:
    """Whether the kernel can compute these frames."""
    return (
        targets.dtype == torch.float32
        and 0 < logits_NC.shape[1] <= MAX_CLASSES
        and targets.class_ids_NJ.shape[1] <= MAX_KEPT + 1
        and len(logits_NC) > 0
        and logits_NC.stride(1) == 1
    )


def kernel_losses(
    logits_NC: Tensor, targets: BatchTargets, *, gradient_NC: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Hard loss (N,) and soft loss (N,), as `frame_losses`: the gradient is written as well."""
    num_frames, num_classes = logits_NC.shape
    hard_N, soft_N = torch.zeros_like(targets.weights_N), torch.zeros_like(targets.weights_N)
    soft = targets.soft
    unused = targets.weights_N  # a pointer in place of an absent tensor; not read
    width = triton.next_power_of_2(num_classes)
    _frame_kernel[(num_frames,)](
        logits_NC,
        logits_NC.stride(0),
        logits_NC if gradient_NC is None else gradient_NC,
        0 if gradient_NC is None else gradient_NC.stride(0),
        targets.class_ids_NJ.contiguous(),
        unused if soft is None else soft.mass_NJ.contiguous(),
        unused if soft is None else soft.total_N(num_classes=num_classes),
        unused if soft is None or soft.other_mass_N is None else soft.other_mass_N.contiguous(),
        unused if soft is None or soft.bucket_mass_N is None else soft.bucket_mass_N.contiguous(),
        targets.labelled_N,
        targets.weights_N,
        hard_N,
        soft_N,
        targets.hard_weight,
        targets.temperature,
        num_classes,
        num_kept=targets.class_ids_NJ.shape[1] - 1,
        width=width,
        has_soft=soft is not None,
        has_other_mass=soft is not None and soft.other_mass_N is not None,
        has_bucket=soft is not None and soft.bucket_mass_N is not None,
        with_gradient=gradient_NC is not None,
        num_warps=min(32, max(4, width // CLASSES_PER_WARP)),
    )
    return hard_N, soft_N


@triton.jit  # type: ignore[untyped-decorator]
def _frame_kernel(  # type: ignore[no-untyped-def]
    logits,
    logits_stride,
    gradient,
    gradient_stride,
    class_ids,
    mass,
    total_mass,
    other_mass,
    bucket_mass,
    labelled,
    weights,
    hard_losses,
    soft_losses,
    hard_weight,
    temperature,
    num_classes,
    num_kept: tl.constexpr,
    width: tl.constexpr,
    has_soft: tl.constexpr,
    has_other_mass: tl.constexpr,
    has_bucket: tl.constexpr,
    with_gradient: tl.constexpr,
):
    frame = tl.program_id(0).to(tl.int64)  # frame * stride may exceed int32
    classes = tl.arange(0, width)
    is_class = classes < num_classes
    row = logits + frame * logits_stride + classes
    z = tl.load(row, mask=is_class, other=-float("inf")).to(tl.float32)
    first_id = frame * (num_kept + 1)
    is_label = classes == tl.load(class_ids + first_id + num_kept)
    is_labelled = tl.load(labelled + frame)
    weight = tl.load(weights + frame)

    largest = tl.max(z, 0)
    raised = tl.exp(z - largest)
    total = tl.sum(raised, 0)
    label_loss = largest + tl.log(total) - tl.sum(tl.where(is_label, z, 0.0), 0)
    tl.store(hard_losses + frame, label_loss * is_labelled)
    slope = (raised / total - tl.where(is_label, 1.0, 0.0)) * (hard_weight * is_labelled)

    if has_soft:
        target = tl.where(is_label, tl.load(mass + first_id + num_kept), 0.0)
        is_outside = is_class
        for rank in tl.static_range(num_kept):
            is_kept = classes == tl.load(class_ids + first_id + rank)
            target += tl.where(is_kept, tl.load(mass + first_id + rank), 0.0)
            is_outside = is_outside & (is_kept == 0)
        if has_other_mass:
            target += tl.where(is_outside, tl.load(other_mass + frame), 0.0)
        tempered = z / temperature
        largest = tl.max(tempered, 0)
        raised = tl.exp(tempered - largest)
        total = tl.sum(raised, 0)
        logsumexp = largest + tl.log(total)
        # Masked before the product: past the last class, tempered is -inf and 0 * inf is nan.
        loss = tl.sum(target * tl.where(is_class, logsumexp - tempered, 0.0), 0)
        student = tl.load(total_mass + frame) * raised / total
        if has_bucket:
            in_bucket = tl.load(bucket_mass + frame)
            outside = tl.where(is_outside, tempered, -float("inf"))
            largest = tl.max(outside, 0)
            raised = tl.exp(outside - largest)
            total = tl.sum(raised, 0)
            log_tail = largest + tl.log(total) - logsumexp
            loss -= in_bucket * log_tail
            per_outside = (tl.load(total_mass + frame) * tl.exp(log_tail) - in_bucket) / total
            student = tl.where(is_outside, per_outside * raised, student)
        tl.store(soft_losses + frame, loss * temperature * temperature)
        # T^2 of the loss, times 1 / T by the chain rule through z / T.
        slope += (student - target) * ((1.0 - hard_weight) * temperature)

    if with_gradient:
        # The whole row has been read: the gradient may be written over it.
        out = gradient + frame * gradient_stride + classes
        tl.store(out, (slope * weight).to(gradient.dtype.element_ty), mask=is_class)
