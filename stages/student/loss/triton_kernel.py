"""A Triton kernel: loss and gradient of a frame in two passes over its logits, in place.

The same as frame_losses.py in torch, under every tail policy and at any temperature. Half types are
read and written as they are, and computed in float32.

One program has one frame. It takes the target classes out of the row: their logits are kept in
registers, -inf is written in their places. The first pass over the row, block by block, then has
the maximum and the sum of exponentials of all other classes, without subtraction and so without
cancellation (Milakov and Gimelshein 2018, "Online normalizer calculation for softmax", of a row
from which classes are left out). The second writes their gradients, and the target classes get
theirs by index. So neither the number of classes nor K is limited by registers, a row is read
twice and written once, and the cost of K is that of K reads and writes.

It has been run in Triton's interpreter, against the dense definition, and compiled for GPUs
(tests/stages/student/loss/test_triton_compiles.py); never run on one, so its speed is not known.

Shapes: N frames, C classes, J = K + 1 target classes: the kept classes, then the label.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from stages.student.loss.targets import BatchTargets

MAX_KEPT = 1023  # target classes of a frame are held in registers
BLOCK_CLASSES = 4096
CLASSES_PER_WARP = 512


def supports(logits_NC: Tensor, targets: BatchTargets) -> bool:
    """Whether the kernel can compute these frames."""
    return (
        targets.dtype == torch.float32
        and logits_NC.shape[1] > 0
        and targets.class_ids_NJ.shape[1] <= MAX_KEPT + 1
        and len(logits_NC) > 0
        and logits_NC.stride(1) == 1
    )


def kernel_losses(
    logits_NC: Tensor, targets: BatchTargets, *, gradient_NC: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Hard loss (N,) and soft loss (N,), as `frame_losses`: the gradient is written as well."""
    row_NC = torch.empty_like(logits_NC) if gradient_NC is None else gradient_NC
    if row_NC.data_ptr() != logits_NC.data_ptr():
        row_NC.copy_(logits_NC)
    num_frames, num_classes = logits_NC.shape
    num_targets = targets.class_ids_NJ.shape[1]
    hard_N, soft_N = torch.zeros_like(targets.weights_N), torch.zeros_like(targets.weights_N)
    soft = targets.soft
    unused = targets.weights_N  # a pointer in place of an absent tensor; not read
    block = min(BLOCK_CLASSES, triton.next_power_of_2(num_classes))
    _frame_kernel[(num_frames,)](
        row_NC,
        row_NC.stride(0),
        targets.class_ids_NJ.contiguous(),
        unused if soft is None else soft.mass_NJ.contiguous(),
        unused if soft is None else soft.total_N(num_classes=num_classes),
        unused if soft is None or soft.every_mass_N is None else soft.every_mass_N.contiguous(),
        unused if soft is None or soft.bucket_mass_N is None else soft.bucket_mass_N.contiguous(),
        targets.labelled_N,
        targets.weights_N,
        hard_N,
        soft_N,
        targets.hard_weight,
        targets.temperature,
        num_classes,
        num_targets=num_targets,
        width=triton.next_power_of_2(num_targets),
        block=block,
        has_soft=soft is not None,
        has_every_mass=soft is not None and soft.every_mass_N is not None,
        has_bucket=soft is not None and soft.bucket_mass_N is not None,
        with_gradient=gradient_NC is not None,
        num_warps=min(8, max(1, block // CLASSES_PER_WARP)),
    )
    return hard_N, soft_N


@triton.jit  # type: ignore[untyped-decorator]
def _frame_kernel(  # type: ignore[no-untyped-def]
    rows,
    stride,
    class_ids,
    mass,
    total_mass,
    every_mass,
    bucket_mass,
    labelled,
    weights,
    hard_losses,
    soft_losses,
    hard_weight,
    temperature,
    num_classes,
    num_targets: tl.constexpr,
    width: tl.constexpr,
    block: tl.constexpr,
    has_soft: tl.constexpr,
    has_every_mass: tl.constexpr,
    has_bucket: tl.constexpr,
    with_gradient: tl.constexpr,
):
    frame = tl.program_id(0).to(tl.int64)  # frame * stride may exceed int32
    row = rows + frame * stride
    rank = tl.arange(0, width)
    is_rank = rank < num_targets
    ids = tl.load(class_ids + frame * num_targets + rank, mask=is_rank, other=0)
    label = tl.load(class_ids + frame * num_targets + num_targets - 1)
    is_labelled = tl.load(labelled + frame)
    weight = tl.load(weights + frame)

    # Each class once: ranks after the count repeat the first one, and the label's entry counts
    # where it is no kept class.
    first = tl.load(class_ids + frame * num_targets)
    is_kept = (rank < num_targets - 1) & ((rank == 0) | (ids != first))
    is_kept_label = is_kept & (ids == label)
    num_label_kept = tl.sum(is_kept_label.to(tl.int32), 0)
    is_single_label = rank == tl.where(is_labelled > num_label_kept, num_targets - 1, -1)
    is_taken = is_kept | is_single_label
    is_label = is_taken & (ids == label) & (ids >= tl.where(is_labelled > 0, 0, num_classes))
    z = tl.load(row + ids, mask=is_taken, other=-float("inf")).to(tl.float32)
    tl.debug_barrier()  # all of the program's threads have read
    absent = tl.full((width,), -float("inf"), tl.float32)
    tl.store(row + ids, absent.to(rows.dtype.element_ty), mask=is_taken)
    tl.debug_barrier()

    # First pass: maximum, sums of exponentials, and sum, of the classes that were not taken.
    largest = tl.max(tl.full((block,), -float("inf"), tl.float32), 0)
    raised_sum = tl.sum(tl.zeros((block,), tl.float32), 0)
    tempered_sum = raised_sum
    logit_sum = raised_sum
    num_infinite = tl.sum(tl.zeros((block,), tl.int32), 0)
    for begin in range(0, num_classes, block):
        classes = begin + tl.arange(0, block)
        is_class = classes < num_classes
        x = tl.load(row + classes, mask=is_class, other=-float("inf")).to(tl.float32)
        larger = tl.maximum(largest, tl.max(x, 0))
        base = tl.where(larger == -float("inf"), 0.0, larger)  # -inf minus -inf is nan
        raised_sum = raised_sum * tl.exp(largest - base) + tl.sum(tl.exp(x - base), 0)
        if has_soft:
            shrunk = tempered_sum * tl.exp((largest - base) / temperature)
            tempered_sum = shrunk + tl.sum(tl.exp((x - base) / temperature), 0)
        if has_every_mass:
            is_finite = x > -float("inf")
            logit_sum += tl.sum(tl.where(is_finite, x, 0.0), 0)
            num_infinite += tl.sum((is_class & (is_finite == 0)).to(tl.int32), 0)
        largest = larger

    # With the taken ones: of all classes.
    top = tl.maximum(largest, tl.max(z, 0))
    label_logit = tl.sum(tl.where(is_label, z, 0.0), 0)
    whole = raised_sum * tl.exp(largest - top) + tl.sum(tl.exp(z - top), 0)
    logsumexp = top + tl.log(whole)
    tl.store(hard_losses + frame, tl.where(is_labelled > 0, logsumexp - label_logit, 0.0))
    hard_share = hard_weight * is_labelled
    slope = (tl.exp(z - logsumexp) - tl.where(is_label, 1.0, 0.0)) * hard_share

    soft_share = (
        1.0 - hard_weight
    ) * temperature  # T^2, times 1 / T by the chain rule through z / T
    outside_factor = 0.0
    outside_base = 0.0
    outside_target = 0.0
    if has_soft:
        rank_mass = tl.load(mass + frame * num_targets + rank, mask=is_kept, other=0.0)
        label_mass = tl.load(mass + frame * num_targets + num_targets - 1)
        target = rank_mass + tl.where(is_label, label_mass, 0.0)
        tempered = z / temperature
        tempered_whole = tempered_sum * tl.exp((largest - top) / temperature)
        tempered_whole += tl.sum(tl.exp((z - top) / temperature), 0)
        soft_logsumexp = top / temperature + tl.log(tempered_whole)
        total = tl.load(total_mass + frame)
        outside_factor = total
        outside_base = soft_logsumexp
        if has_every_mass:
            outside_target = tl.load(every_mass + frame)
            target += tl.where(is_taken, outside_target, 0.0)
            num_taken = tl.sum(is_taken.to(tl.int32), 0)
            logit_sum = tl.where(num_infinite > num_taken, -float("inf"), logit_sum)
            num_other = num_classes - num_taken
            loss = outside_target * (num_other * soft_logsumexp - logit_sum / temperature)
            loss = tl.where(outside_target > 0, loss, 0.0)  # 0 * inf is nan
        else:
            loss = 0.0
        # Masked before the product: past the last rank, tempered is -inf and 0 * inf is nan.
        loss += tl.sum(target * tl.where(target != 0, soft_logsumexp - tempered, 0.0), 0)
        student = total * tl.exp(tempered - soft_logsumexp)
        if has_bucket:
            in_bucket = tl.load(bucket_mass + frame)
            outside = tl.where(is_single_label, z, -float("inf"))
            outside_top = tl.maximum(largest, tl.max(outside, 0))
            outside_whole = tempered_sum * tl.exp((largest - outside_top) / temperature)
            outside_whole += tl.sum(tl.exp((outside - outside_top) / temperature), 0)
            outside_base = outside_top / temperature + tl.log(outside_whole)
            log_tail = outside_base - soft_logsumexp
            loss -= in_bucket * log_tail
            outside_factor = total * tl.exp(log_tail) - in_bucket
            in_outside = outside_factor * tl.exp(outside / temperature - outside_base)
            student = tl.where(is_single_label, in_outside, student)
        tl.store(soft_losses + frame, loss * temperature * temperature)
        slope += (student - target) * soft_share

    if with_gradient:
        for begin in range(0, num_classes, block):
            classes = begin + tl.arange(0, block)
            is_class = classes < num_classes
            x = tl.load(row + classes, mask=is_class, other=-float("inf")).to(tl.float32)
            gradient = tl.exp(x - logsumexp) * hard_share
            if has_soft:
                student_share = outside_factor * tl.exp(x / temperature - outside_base)
                gradient += (student_share - outside_target) * soft_share
            gradient = gradient * weight
            tl.store(row + classes, gradient.to(rows.dtype.element_ty), mask=is_class)
        tl.debug_barrier()  # the second pass wrote something in the places of the taken classes
        tl.store(row + ids, (slope * weight).to(rows.dtype.element_ty), mask=is_taken)
