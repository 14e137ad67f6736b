"""The dense definition of the loss against torch's own losses, and against numbers by hand."""

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div

from stages.student.loss.definition import SoftTargets, dense_loss
from stages.student.loss.options import LossOptions, TailPolicy
from tests.support.makers.loss import make_frames, no_soft_targets

POLICIES: tuple[TailPolicy, ...] = get_args(TailPolicy)

# Four classes, two kept with 0.5 and 0.3, a tail of 0.2; the label is class 3, outside.
STUDENT = (0.4, 0.3, 0.1, 0.2)
BY_HAND = {
    "renormalize": -(0.625 * math.log(0.4) + 0.375 * math.log(0.1)),
    "bucket": -(0.5 * math.log(0.4) + 0.3 * math.log(0.1) + 0.2 * math.log(0.3 + 0.2)),
    "uniform": -(
        0.5 * math.log(0.4) + 0.1 * math.log(0.3) + 0.3 * math.log(0.1) + 0.1 * math.log(0.2)
    ),
    "truth": -(0.5 * math.log(0.4) + 0.3 * math.log(0.1) + 0.2 * math.log(0.2)),
    "drop": -(0.5 * math.log(0.4) + 0.3 * math.log(0.1)),
}


def soft_targets(num_frames: int) -> SoftTargets:
    return SoftTargets(
        ids_NK=torch.tensor([[0, 2]] * num_frames),
        logp_NK=torch.tensor([[0.5, 0.3]] * num_frames, dtype=torch.float64).log(),
        tail_N=torch.full((num_frames,), 0.2, dtype=torch.float64),
    )


@pytest.mark.parametrize("tail", POLICIES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_dense_loss_is_the_number_computed_by_hand(tail: TailPolicy, temperature: float) -> None:
    logits_NC = temperature * torch.tensor([STUDENT], dtype=torch.float64).log() + 7
    options = LossOptions(hard_weight=0.0, tail=tail, temperature=temperature)
    parts = dense_loss(logits_NC, torch.tensor([3]), soft_targets(1), options)
    assert parts.total.item() == pytest.approx(temperature**2 * BY_HAND[tail], rel=1e-12)
    assert parts.hard.item() == pytest.approx(cross_entropy(logits_NC, torch.tensor([3])).item())


def test_dense_loss_weights_frames_and_parts() -> None:
    logits_NC = torch.tensor([STUDENT] * 3, dtype=torch.float64).log()
    labels_N, weights_N = torch.tensor([3, -1, 0]), torch.tensor([1.0, 2.0, 0.0]).double()
    truth, renormalized = BY_HAND["truth"], BY_HAND["renormalize"]
    options = LossOptions(hard_weight=0.25, tail="truth")
    parts = dense_loss(logits_NC, labels_N, soft_targets(3), options, frame_weights_N=weights_N)
    assert parts.hard.item() == pytest.approx(-math.log(0.2))
    assert parts.soft.item() == pytest.approx((truth + 2 * renormalized) / 3)
    assert parts.total.item() == pytest.approx(0.25 * -math.log(0.2) / 3 + 0.75 * parts.soft.item())
    assert parts.num_frames == 2


def test_dense_loss_with_hard_weight_one_is_cross_entropy() -> None:
    frames = make_frames(num_frames=9)
    options = LossOptions(hard_weight=1.0, tail="bucket", temperature=3.0)
    wanted = cross_entropy(frames.logits_NC, frames.labels_N, ignore_index=-1)
    for soft in (frames.soft, no_soft_targets(9)):
        parts = dense_loss(frames.logits_NC, frames.labels_N, soft, options)
        torch.testing.assert_close(parts.total, wanted)
        torch.testing.assert_close(parts.hard, wanted)
        assert (float(parts.soft), parts.num_frames) == (0.0, 8)


@pytest.mark.parametrize("tail", POLICIES)
def test_dense_loss_with_all_classes_kept_is_dense_distillation(tail: TailPolicy) -> None:
    frames = make_frames(num_classes=13, k=13)
    logits_NC, soft = frames.logits_NC, frames.soft
    teacher_NC = torch.zeros_like(logits_NC).scatter(1, soft.ids_NK, soft.logp_NK.exp())
    parts = dense_loss(logits_NC, frames.labels_N, soft, LossOptions(hard_weight=0.0, tail=tail))
    torch.testing.assert_close(parts.total, cross_entropy(logits_NC, teacher_NC))
    entropy = -(soft.logp_NK.exp() * soft.logp_NK).sum(1).mean()
    divergence = kl_div(logits_NC.log_softmax(1), teacher_NC, reduction="batchmean")
    torch.testing.assert_close(parts.soft - entropy, divergence)


def test_dense_loss_has_no_gradient_when_the_student_is_the_teacher() -> None:
    teacher_NC = make_frames(num_classes=9).logits_NC.log_softmax(1)
    logits_NC = teacher_NC.clone().requires_grad_()
    logp_NK, ids_NK = teacher_NC.topk(4)
    soft = SoftTargets(ids_NK=ids_NK, logp_NK=logp_NK, tail_N=1 - logp_NK.exp().sum(1))
    options = LossOptions(hard_weight=0.0, tail="bucket")
    parts = dense_loss(logits_NC, torch.zeros(7, dtype=torch.long), soft, options)
    (gradient_NC,) = torch.autograd.grad(parts.total, logits_NC)
    assert gradient_NC.abs().max() < 1e-15


@pytest.mark.parametrize("tail", POLICIES)
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_dense_loss_can_be_differentiated_twice(tail: TailPolicy, temperature: float) -> None:
    frames = make_frames(num_frames=3, num_classes=5, k=2)
    options = LossOptions(hard_weight=0.3, tail=tail, temperature=temperature)

    def total(logits_NC: Tensor) -> Tensor:
        return dense_loss(logits_NC, frames.labels_N, frames.soft, options).total

    assert torch.autograd.gradcheck(total, frames.leaf())
    assert torch.autograd.gradgradcheck(total, frames.leaf())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hard_weight": 1.2}, r"hard_weight is 1\.2: choose a value from 0 to 1"),
        ({"hard_weight": math.nan}, "hard_weight is nan"),
        ({"temperature": 0.0}, r"temperature is 0\.0: choose a value above 0"),
    ],
)
def test_loss_options_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossOptions(**({"hard_weight": 0.5, "tail": "drop"} | values))
