"""Every form of the loss in float32 and in half types, where few digits are left."""

import math

import pytest
import torch
from torch import Tensor

from stages.student.loss.definition import SoftTargets
from stages.student.loss.options import LossOptions, TailPolicy
from tests.support.makers.loss import Frames, make_frames
from tests.support.oracles.loss import (
    EVERY_TAIL,
    FORMS,
    HARD_ALONE,
    POLICIES,
    Form,
    definition_of,
    every_half_form,
    every_single_form,
)

STUDENT_TAILS = [1e-3, 1e-7, 1e-12, 1e-20, 1e-30, 1e-60]


def with_student_tail(frames: Frames, tail: float) -> tuple[Frames, Tensor]:
    """float32 logits whose mass outside the kept classes is `tail`, and where that is."""
    outside_NC = torch.ones_like(frames.logits_NC, dtype=torch.bool)
    outside_NC.scatter_(1, frames.soft.ids_NK, value=False)
    inside_N = frames.logits_NC.masked_fill(outside_NC, -torch.inf).logsumexp(1)
    outside_N = frames.logits_NC.masked_fill(~outside_NC, -torch.inf).logsumexp(1)
    shift_N = math.log(tail) + inside_N - outside_N
    logits_NC = torch.where(outside_NC, frames.logits_NC + shift_N[:, None], frames.logits_NC)
    return frames.with_logits(logits_NC.float()), outside_NC


@every_single_form
@pytest.mark.parametrize("tail", POLICIES)
@pytest.mark.parametrize("student_tail", STUDENT_TAILS)
def test_form_in_float32_is_exact_however_small_the_students_tail(
    form: Form, dtype: torch.dtype, tail: TailPolicy, student_tail: float
) -> None:
    frames = make_frames(num_frames=5, num_classes=101, k=4, dtype=dtype)
    frames, _ = with_student_tail(frames, student_tail)
    options = LossOptions(hard_weight=0.2, tail=tail)
    found, gradient_NC = form.loss_and_gradient(frames, options)
    wanted, wanted_NC = definition_of(frames, options)
    torch.testing.assert_close(found.total.double(), wanted.total, rtol=1e-6, atol=0)
    error_N = (gradient_NC.double() - wanted_NC).norm(dim=1) / wanted_NC.norm(dim=1)
    assert error_N.max() < 1e-6


@every_single_form
@pytest.mark.parametrize("options", [*EVERY_TAIL, HARD_ALONE], ids=str)
@pytest.mark.parametrize("lead", [60.0, 80.0, 90.0, 100.0, 1000.0])
def test_form_in_float32_is_exact_for_a_student_certain_of_another_class(
    form: Form, dtype: torch.dtype, options: LossOptions, lead: float
) -> None:
    # All target classes' probabilities lose digits above a lead of 87, and are 0 above 104.
    frames = make_frames(num_frames=5, num_classes=101, k=4, dtype=dtype)
    targets = torch.cat([frames.soft.ids_NK, frames.labels_N.clamp(min=0)[:, None]], dim=1)
    others = [next(c for c in range(101) if c not in row) for row in targets.tolist()]
    index_N1 = torch.tensor(others)[:, None]
    frames = frames.with_logits(frames.logits_NC.scatter(1, index_N1, lead))
    found, gradient_NC = form.loss_and_gradient(frames, options)
    wanted, wanted_NC = definition_of(frames, options)
    torch.testing.assert_close(found.total.double(), wanted.total, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient_NC.double(), wanted_NC, rtol=1e-5, atol=1e-9)


@every_single_form
@pytest.mark.parametrize("student_tail", STUDENT_TAILS[:5])
def test_form_bucket_gradient_is_exact_when_both_tails_are_tiny(
    form: Form, dtype: torch.dtype, student_tail: float
) -> None:
    # A tail computed as 1 - sum has 130 % error in these entries at 2e-7, and is NaN below.
    frames = make_frames(num_frames=5, num_classes=101, k=4, dtype=dtype)
    frames, outside_NC = with_student_tail(frames, student_tail)
    soft = SoftTargets(
        ids_NK=frames.soft.ids_NK,
        logp_NK=frames.soft.logp_NK.log_softmax(1),
        tail_N=torch.full((5,), 3 * student_tail),
    )
    frames = Frames(logits_NC=frames.logits_NC, labels_N=frames.labels_N, soft=soft)
    options = LossOptions(hard_weight=0.0, tail="bucket")
    _, gradient_NC = form.loss_and_gradient(frames, options)
    _, wanted_NC = definition_of(frames, options)
    is_normal_NC = outside_NC & (wanted_NC.abs() > 1e-36)  # below, float32 has fewer digits
    assert is_normal_NC.any()
    torch.testing.assert_close(
        gradient_NC[is_normal_NC].double(), wanted_NC[is_normal_NC], rtol=1e-4, atol=0
    )


@every_half_form
def test_form_of_half_logits_is_computed_in_float32(form: Form, dtype: torch.dtype) -> None:
    half = make_frames(num_frames=13, num_classes=23, k=5, dtype=dtype)
    options = LossOptions(hard_weight=0.3, tail="bucket")
    found, gradient_NC = form.loss_and_gradient(half, options)
    wanted, wanted_NC = form.loss_and_gradient(half.to(torch.float32), options)
    assert found.total.dtype == torch.float32
    assert gradient_NC.dtype == dtype
    assert torch.equal(found.total, wanted.total)
    close = {"rtol": 0, "atol": 0}
    if dtype == torch.float16:  # the gradient of the sum is stored, rounded, before it is divided
        close = {"rtol": 2e-3, "atol": 6e-8}
    elif "kernel" in form.name:  # Triton's interpreter truncates to bfloat16
        close = {"rtol": 1e-2, "atol": 1e-6}
    torch.testing.assert_close(gradient_NC, wanted_NC.to(dtype), **close)


@pytest.mark.parametrize("form", [FORMS[0], FORMS[2], FORMS[3]], ids=lambda form: form.name)
def test_form_of_a_scaled_loss_keeps_small_gradients_in_float16(form: Form) -> None:
    # As with an AMP loss scaler. The gradient of the mean itself is 0 in float16 below 6e-8.
    half = make_frames(num_frames=4001, num_classes=23, k=5, dtype=torch.float16)
    options = LossOptions(hard_weight=0.3, tail="renormalize")
    scaled = []
    for frames in (half, half.to(torch.float32)):
        logits_NC = frames.leaf()
        total = form(frames, logits_NC, options).total
        scaled += torch.autograd.grad(total * 65536, logits_NC)
    found, exact = scaled
    is_small = (exact.abs() / 65536 < 3e-8) & (exact.abs() > 6e-5)
    assert is_small.sum() > 1000
    torch.testing.assert_close(found[is_small], exact[is_small].half(), rtol=0.02, atol=1e-6)
