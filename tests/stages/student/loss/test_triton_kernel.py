"""The Triton kernel in Triton's interpreter: what it supports, and rows of several blocks.

Its values of small rows: test_forms.py.
"""

from importlib import import_module
from importlib.util import find_spec

import pytest
import torch

from stages.student.loss.definition import SoftTargets
from stages.student.loss.frame_weights import make_frame_weights
from stages.student.loss.options import LossOptions
from stages.student.loss.targets import make_batch_targets
from tests.support.makers.loss import make_frames
from tests.support.oracles.loss import FORMS, OPTIONS, assert_is_definition

pytestmark = pytest.mark.skipif(
    find_spec("triton") is None, reason="triton comes with torch's CUDA wheels, or by itself"
)
KERNEL = next(form for form in FORMS if form.name == "kernel")


@pytest.mark.parametrize(
    ("num_classes", "k", "dtype", "is_supported"),
    [
        (1 << 18, 64, torch.float32, True),
        (99, 3, torch.bfloat16, True),
        (5000, 1023, torch.float32, True),
        (5000, 1024, torch.float32, False),
        (99, 3, torch.float64, False),
    ],
)
def test_kernel_supports_any_number_of_classes_and_ranks_that_fit_registers(
    num_classes: int, k: int, dtype: torch.dtype, is_supported: bool
) -> None:
    kernel = import_module("stages.student.loss.triton_kernel")
    labels_N = torch.zeros(2, dtype=torch.long)
    soft = SoftTargets(
        ids_NK=torch.arange(k).expand(2, k), logp_NK=torch.zeros(2, k), tail_N=torch.zeros(2)
    )
    options = LossOptions(hard_weight=0.5, tail="drop")
    weights = make_frame_weights(labels_N, options, None, logits_dtype=dtype)
    targets = make_batch_targets(labels_N, soft, options, weights, num_classes=num_classes)
    assert kernel.supports(torch.zeros(2, num_classes, dtype=dtype), targets) == is_supported


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_rows_of_several_blocks_are_the_definition(options: LossOptions) -> None:
    frames = make_frames(
        num_frames=4, num_classes=9001, k=70, temperature=options.temperature, dtype=torch.float32
    )
    assert_is_definition(KERNEL, frames, options)


def test_logits_are_kept_unless_they_may_be_overwritten() -> None:
    frames = make_frames(num_classes=5000, dtype=torch.float32)
    before_NC = frames.logits_NC.clone()
    options = LossOptions(hard_weight=0.3, tail="bucket")
    KERNEL.loss_and_gradient(frames, options)
    with torch.no_grad():
        KERNEL(frames, frames.logits_NC, options)
    assert torch.equal(frames.logits_NC, before_NC)


def test_classes_that_the_student_excludes_have_no_gradient() -> None:
    frames = make_frames(num_classes=300, dtype=torch.float32)
    logits_NC = frames.logits_NC.clone()
    outside_C = torch.ones(300, dtype=torch.bool)
    outside_C[frames.soft.ids_NK.flatten()] = False
    outside_C[frames.labels_N.clamp(min=0)] = False
    excluded = outside_C.nonzero()[:5, 0]
    logits_NC[:, excluded] = -torch.inf
    for tail in ("renormalize", "bucket"):
        options = LossOptions(hard_weight=0.3, tail=tail)
        parts, gradient_NC = KERNEL.loss_and_gradient(frames.with_logits(logits_NC), options)
        assert bool(torch.isfinite(parts.total))
        assert torch.isfinite(gradient_NC).all()
        assert not gradient_NC[:, excluded].any()
