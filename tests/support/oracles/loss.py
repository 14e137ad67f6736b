"""Every form of the student's loss, called alike, so that one contract can be tested on all."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, get_args
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from stages.student.loss import frame_losses
from stages.student.loss.chunked import essence_linear_loss
from stages.student.loss.definition import LossParts, dense_loss
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions, TailPolicy
from tests.support.makers.loss import Frames

POLICIES: tuple[TailPolicy, ...] = get_args(TailPolicy)
OPTIONS = [
    LossOptions(tail=tail, hard_weight=hard_weight, temperature=temperature)
    for tail, hard_weight, temperature in itertools.product(POLICIES, (0.0, 0.3), (1.0, 2.5))
]
MIXED = [options for options in OPTIONS if options.hard_weight]
EVERY_TAIL = [LossOptions(tail=tail, hard_weight=0.2) for tail in POLICIES]
HARD_ALONE = LossOptions(tail="drop", hard_weight=1.0, temperature=2.5)


@dataclass(frozen=True, slots=True)
class Form:
    """One implementation of the loss, as a function of logits that is called like `dense_loss`."""

    name: str
    call: Callable[..., LossParts]
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32)
    setting: Callable[[Tensor], Any] = lambda _: nullcontext()

    def __call__(
        self,
        frames: Frames,
        logits_NC: Tensor,
        options: LossOptions,
        weights_N: Tensor | None = None,
    ) -> LossParts:
        """The loss of `logits_NC`, for the labels and soft targets of `frames`."""
        with self.setting(logits_NC):
            return self.call(
                logits_NC, frames.labels_N, frames.soft, options, frame_weights_N=weights_N
            )

    def loss_and_gradient(
        self, frames: Frames, options: LossOptions, weights_N: Tensor | None = None
    ) -> tuple[LossParts, Tensor]:
        """The loss of the frames, and its gradient with respect to their logits."""
        logits_NC = frames.leaf()
        parts = self(frames, logits_NC, options, weights_N)
        (gradient_NC,) = torch.autograd.grad(parts.total, logits_NC)
        return parts, gradient_NC


@contextmanager
def blocks_of(frames: int, logits_NC: Tensor) -> Iterator[None]:
    """Inside, a block has at most `frames` frames."""
    with patch.object(frame_losses, "BLOCK_ELEMENTS", frames * logits_NC.shape[1]):
        yield


@contextmanager
def as_on_a_gpu(_: Tensor) -> Iterator[None]:
    """Inside, torch computes as it does on a GPU without the kernel."""
    with patch.object(frame_losses, "_is_eager_on_cpu", lambda _: False):
        yield


@contextmanager
def by_kernel(_: Tensor) -> Iterator[None]:
    """Inside, the Triton kernel computes all losses, in its interpreter."""
    kernel = import_module("stages.student.loss.triton_kernel")

    def kernel_for(*batch: Any) -> Any:
        assert not len(batch[0]) or kernel.supports(*batch)
        return kernel if len(batch[0]) else None

    with patch.object(frame_losses, "_kernel_for", kernel_for):
        yield


def in_place(logits_NC: Tensor, *args: Any, **weights: Any) -> LossParts:
    """`essence_loss` of a copy that it may overwrite."""
    return essence_loss(logits_NC * 1, *args, **weights, in_place=True)


def chunked(logits_NC: Tensor, *args: Any, **weights: Any) -> LossParts:
    """`essence_linear_loss` of a layer whose output is its input: exactly, in any dtype."""
    identity_CC = torch.eye(logits_NC.shape[1], dtype=logits_NC.dtype)
    return essence_linear_loss(logits_NC, identity_CC, None, *args, **weights, chunk_frames=4)


SINGLE = (torch.float32,)
FORMS = (
    Form("fused", essence_loss),
    Form("fused in blocks of 3 frames", essence_loss, setting=lambda z: blocks_of(3, z)),
    Form("fused in place", in_place),
    Form("fused as on a GPU", essence_loss, setting=as_on_a_gpu),
    Form("chunked", chunked),
    Form("kernel", essence_loss, dtypes=SINGLE, setting=by_kernel),
)


def forms_in(*dtypes: torch.dtype) -> list[object]:
    """Parameters: every form in every of these dtypes that it has."""
    no_triton = pytest.mark.skipif(
        find_spec("triton") is None, reason="triton comes with torch's CUDA wheels, or by itself"
    )
    return [
        pytest.param(
            form,
            dtype,
            id=f"{form.name}-{dtype}".replace("torch.", ""),
            marks=[no_triton] if "kernel" in form.name else [],
        )
        for form, dtype in itertools.product(FORMS, dtypes)
        if dtype in form.dtypes or dtype.itemsize < 4
    ]


every_form = pytest.mark.parametrize(("form", "dtype"), forms_in(torch.float64, torch.float32))
every_double_form = pytest.mark.parametrize(("form", "dtype"), forms_in(torch.float64))
every_single_form = pytest.mark.parametrize(("form", "dtype"), forms_in(torch.float32))
every_half_form = pytest.mark.parametrize(
    ("form", "dtype"), forms_in(torch.bfloat16, torch.float16)
)


def definition_of(
    frames: Frames, options: LossOptions, weights_N: Tensor | None = None
) -> tuple[LossParts, Tensor]:
    """Loss and gradient by definition, in float64."""
    exact = frames.to(torch.float64)
    logits_NC = exact.leaf()
    weights = {} if weights_N is None else {"frame_weights_N": weights_N.double()}
    parts = dense_loss(logits_NC, exact.labels_N, exact.soft, options, **weights)
    return parts, *torch.autograd.grad(parts.total, logits_NC)


def assert_is_definition(
    form: Form, frames: Frames, options: LossOptions, weights_N: Tensor | None = None
) -> None:
    found, gradient_NC = form.loss_and_gradient(frames, options, weights_N)
    wanted, wanted_NC = definition_of(frames, options, weights_N)
    is_double = frames.logits_NC.dtype == torch.float64
    close = {"rtol": 1e-12, "atol": 1e-14} if is_double else {"rtol": 2e-6, "atol": 1e-7}
    for part in ("total", "hard", "soft"):
        torch.testing.assert_close(
            getattr(found, part).detach().double(), getattr(wanted, part).detach(), **close
        )
    assert found.num_frames == wanted.num_frames
    # p - 1 of a label at p = 0.97 has an error of half a digit of 1: relative to 1, not to itself.
    share_N = torch.ones(len(gradient_NC)) if weights_N is None else weights_N
    digit = 1e-16 if is_double else 1e-7
    rounding_N = 2 * digit * max(1.0, options.temperature) * share_N / share_N.sum().clamp(min=1)
    error_N = (gradient_NC.double() - wanted_NC).norm(dim=1)
    assert (error_N <= 10 * digit * wanted_NC.norm(dim=1) + rounding_N).all()
