"""The Triton kernel, in Triton's interpreter, against the dense float64 definition."""

import importlib
import itertools
from importlib.util import find_spec
from types import ModuleType
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from stages.student.loss.frame_weights import make_lesson
from stages.student.loss.targets import TailPolicy
from tests.support.makers.loss import dense_loss, make_frames

POLICIES: tuple[TailPolicy, ...] = get_args(TailPolicy)
EVERYTHING = list(itertools.product(POLICIES, (0.0, 0.3), (1.0, 2.5)))

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton comes with torch's CUDA wheels, or by itself"
)


@pytest.fixture(scope="module")
def kernel() -> ModuleType:
    """The kernel's file. tests/conftest.py has asked for the interpreter."""
    return importlib.import_module("stages.student.loss.triton_kernel")


def means_and_gradient(
    kernel: ModuleType, logits_NC: Tensor, soft: tuple[Tensor, ...], **how: object
) -> tuple[tuple[Tensor, ...], Tensor]:
    lesson = make_lesson(*soft, num_classes=logits_NC.shape[1], logits_dtype=logits_NC.dtype, **how)
    assert kernel.fits(logits_NC, lesson)
    before = logits_NC.clone()
    gradient_NC = torch.full_like(logits_NC, torch.nan)
    losses = kernel.row_losses(logits_NC, lesson, gradient_NC=gradient_NC)
    assert torch.equal(logits_NC, before)
    without = kernel.row_losses(logits_NC, lesson, gradient_NC=None)
    assert all(map(torch.equal, losses, without))
    in_place = kernel.row_losses(logits_NC, lesson, gradient_NC=logits_NC)
    assert all(map(torch.equal, losses, in_place))
    assert torch.equal(logits_NC, gradient_NC)
    factor = lesson.factor_for(torch.ones(()))
    return lesson.means(*losses), gradient_NC * factor.to(gradient_NC.dtype)


@pytest.mark.parametrize(("tail", "hard_weight", "temperature"), EVERYTHING)
@pytest.mark.parametrize(("k", "num_classes"), [(5, 37), (7, 7)])
def test_it_is_the_dense_definition(
    kernel: ModuleType,
    tail: TailPolicy,
    hard_weight: float,
    temperature: float,
    k: int,
    num_classes: int,
) -> None:
    """RELIABILITY 29."""
    frames = make_frames(k=k, num_classes=num_classes, dtype=torch.float32)
    weights_N = torch.tensor([1.0, 0.25, 2.0, 0.0, 1.0, 3.0, 0.5])
    how = {"hard_weight": hard_weight, "tail": tail, "temperature": temperature}
    found, gradient_NC = means_and_gradient(
        kernel, frames.logits_NC.clone(), frames.soft(), **how, frame_weights_N=weights_N
    )
    double_NC = frames.logits_NC.double().requires_grad_()
    exact = (frames.labels_N, frames.ids_NK, frames.logp_NK.double(), frames.tail_N.double())
    wanted = dense_loss(double_NC, *exact, **how, frame_weights_N=weights_N.double())
    for part, exact_part in zip(found[: 2 + (hard_weight < 1)], wanted, strict=False):
        torch.testing.assert_close(part.double(), exact_part, rtol=2e-6, atol=1e-7)
    (wanted_NC,) = torch.autograd.grad(wanted[0], double_NC)
    error_N = (gradient_NC.double() - wanted_NC).norm(dim=1)
    # 1 - p of a label at p = 0.97 has that much error whoever computes it in float32.
    rounding_N = 2e-7 * temperature * weights_N / weights_N.sum()
    assert (error_N <= 1e-6 * wanted_NC.norm(dim=1) + rounding_N).all()


def test_hard_labels_alone_are_cross_entropy(kernel: ModuleType) -> None:
    frames = make_frames(num_frames=9, num_classes=37, dtype=torch.float32)
    no_store = (torch.empty(9, 0, dtype=torch.long), torch.empty(9, 0), torch.empty(9))
    how = {"hard_weight": 1.0, "tail": "drop", "temperature": 1.0, "frame_weights_N": None}
    found, gradient_NC = means_and_gradient(
        kernel, frames.logits_NC.clone(), (frames.labels_N, *no_store), **how
    )
    logits_NC = frames.logits_NC.clone().requires_grad_()
    wanted = cross_entropy(logits_NC, frames.labels_N, ignore_index=-1)
    torch.testing.assert_close(found[0], wanted)
    torch.testing.assert_close(gradient_NC, *torch.autograd.grad(wanted, logits_NC))


@pytest.mark.parametrize("student_tail", [1e-3, 1e-12, 1e-30])
def test_the_bucket_is_exact_however_small_the_students_tail(
    kernel: ModuleType, student_tail: float
) -> None:
    frames = make_frames(num_frames=5, num_classes=23, k=3, dtype=torch.float32)
    outside_NC = torch.ones(5, 23, dtype=torch.bool).scatter(1, frames.ids_NK, value=False)
    shift = torch.log(torch.tensor(student_tail))
    logits_NC = torch.where(outside_NC, frames.logits_NC - 10 + shift, frames.logits_NC)
    soft = (frames.labels_N, frames.ids_NK, frames.logp_NK, torch.full((5,), 3 * student_tail))
    how = {"hard_weight": 0.0, "tail": "bucket", "temperature": 1.0}
    _, gradient_NC = means_and_gradient(
        kernel, logits_NC.clone(), soft, **how, frame_weights_N=None
    )
    double_NC = logits_NC.double().requires_grad_()
    exact = (soft[0], soft[1], soft[2].double(), soft[3].double())
    (wanted_NC,) = torch.autograd.grad(dense_loss(double_NC, *exact, **how)[0], double_NC)
    normal = outside_NC & (wanted_NC.abs() > 1e-36)
    assert normal.any()
    torch.testing.assert_close(gradient_NC[normal].double(), wanted_NC[normal], rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_types_are_computed_in_float32(kernel: ModuleType, dtype: torch.dtype) -> None:
    frames = make_frames(num_classes=23, k=5, dtype=torch.float32)
    how = {"hard_weight": 0.3, "tail": "uniform", "temperature": 1.0, "frame_weights_N": None}
    half_NC = frames.logits_NC.to(dtype)
    found, gradient_NC = means_and_gradient(kernel, half_NC.clone(), frames.soft(), **how)
    wanted, wanted_NC = means_and_gradient(kernel, half_NC.float(), frames.soft(), **how)
    assert gradient_NC.dtype == dtype
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradient_NC.float(), wanted_NC, rtol=1e-2, atol=1e-6)


def test_what_does_not_fit_is_left_to_torch(kernel: ModuleType) -> None:
    def lesson(
        num_classes: int, k: int, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, object]:
        soft = torch.zeros(2, dtype=torch.long), torch.arange(k).expand(2, k), torch.zeros(2, k)
        how = {"hard_weight": 0.5, "tail": "drop", "temperature": 1.0, "frame_weights_N": None}
        made = make_lesson(
            *soft, torch.zeros(2), num_classes=num_classes, logits_dtype=dtype, **how
        )
        return torch.zeros(2, num_classes, dtype=dtype), made

    assert kernel.fits(*lesson(32768, 64))
    assert not kernel.fits(*lesson(32769, 3))
    assert not kernel.fits(*lesson(99, 65))
    assert not kernel.fits(*lesson(99, 3, torch.float64))
