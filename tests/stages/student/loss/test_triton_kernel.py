"""What the Triton kernel supports. Its values: test_forms.py, in Triton's interpreter."""

from importlib import import_module
from importlib.util import find_spec

import pytest
import torch

from stages.student.loss.definition import SoftTargets
from stages.student.loss.frame_weights import make_frame_weights
from stages.student.loss.options import LossOptions
from stages.student.loss.targets import make_batch_targets


@pytest.mark.skipif(
    find_spec("triton") is None, reason="triton comes with torch's CUDA wheels, or by itself"
)
@pytest.mark.parametrize(
    ("num_classes", "k", "dtype", "is_supported"),
    [
        (32768, 64, torch.float32, True),
        (99, 3, torch.bfloat16, True),
        (32769, 3, torch.float32, False),
        (99, 65, torch.float32, False),
        (99, 3, torch.float64, False),
    ],
)
def test_kernel_supports_rows_that_fit_registers(
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
