"""Output layer and loss in chunks: equal to the two in turn, in a fraction of the memory."""

import itertools
import subprocess
import sys
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from stages.student.loss.chunked import essence_linear_loss
from stages.student.loss.fused import essence_loss
from stages.student.loss.targets import TailPolicy
from tests.support.makers.loss import make_frames

POLICIES: tuple[TailPolicy, ...] = get_args(TailPolicy)
EVERYTHING = list(itertools.product(POLICIES, (0.0, 0.3, 1.0), (1.0, 2.5)))


def make_layer(
    num_frames: int, num_classes: int, *, hidden: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Activations, weight, bias: leaves that want gradients."""
    rng = torch.Generator().manual_seed(1)
    shapes = ((num_frames, hidden), (num_classes, hidden), (num_classes,))
    values = [torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes]
    return tuple(value.to(dtype).requires_grad_() for value in values)


@pytest.mark.parametrize(("tail", "hard_weight", "temperature"), EVERYTHING)
@pytest.mark.parametrize("weighted", [False, True])
def test_it_is_the_loss_of_the_layers_logits(
    tail: TailPolicy, hard_weight: float, temperature: float, weighted: bool
) -> None:
    """RELIABILITY 29."""
    frames, layer = make_frames(num_frames=13, num_classes=11, k=3), make_layer(13, 11)
    weights_N = torch.linspace(0, 2, 13, dtype=torch.float64) if weighted else None
    how = {"hard_weight": hard_weight, "tail": tail, "temperature": temperature}
    how |= {"frame_weights_N": weights_N}
    found = essence_linear_loss(*layer, *frames.soft(), **how, chunk_frames=4)
    wanted = essence_loss(linear(*layer), *frames.soft(), **how)
    for part in ("total", "hard", "soft"):
        torch.testing.assert_close(getattr(found, part), getattr(wanted, part))
    assert found.num_frames == wanted.num_frames
    gradients = [torch.autograd.grad(3 * parts.total, layer) for parts in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("tail", "hard_weight", "temperature"), EVERYTHING)
def test_gradients_are_those_of_the_reported_loss(
    tail: TailPolicy, hard_weight: float, temperature: float
) -> None:
    frames = make_frames(num_frames=5, num_classes=7, k=2)
    how = {"hard_weight": hard_weight, "tail": tail, "temperature": temperature}

    def reported(*layer: Tensor) -> Tensor:
        return essence_linear_loss(*layer, *frames.soft(), **how, chunk_frames=2).total

    assert torch.autograd.gradcheck(reported, make_layer(5, 7, hidden=2), atol=1e-7)


@pytest.mark.parametrize("chunk_frames", [1, 4, 36, 37, 64])
def test_the_size_of_a_chunk_changes_nothing_but_rounding(chunk_frames: int) -> None:
    frames, layer = make_frames(num_frames=37, num_classes=23, k=5), make_layer(37, 23)
    how = {"hard_weight": 0.3, "tail": "bucket", "temperature": 2.0}
    found = essence_linear_loss(*layer, *frames.soft(), **how, chunk_frames=chunk_frames)
    whole = essence_linear_loss(*layer, *frames.soft(), **how, chunk_frames=37)
    torch.testing.assert_close(found.total, whole.total, rtol=1e-13, atol=0)
    gradients = [torch.autograd.grad(parts.total, layer) for parts in (found, whole)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)


def test_only_what_is_trained_gets_a_gradient() -> None:
    frames, layer = make_frames(num_frames=7, num_classes=11), make_layer(7, 11)
    how = {"hard_weight": 0.3, "tail": "renormalize", "chunk_frames": 3}
    everything = torch.autograd.grad(
        essence_linear_loss(*layer, *frames.soft(), **how).total, layer
    )
    for trained in range(3):
        values = [x.detach().requires_grad_(i == trained) for i, x in enumerate(layer)]
        essence_linear_loss(*values, *frames.soft(), **how).total.backward()
        for i, value in enumerate(values):
            assert (value.grad is not None) == (i == trained)
        torch.testing.assert_close(values[trained].grad, everything[trained])
    with torch.no_grad():
        assert not essence_linear_loss(*layer, *frames.soft(), **how).total.requires_grad


def test_a_layer_without_bias() -> None:
    frames, (hidden, weight, _) = make_frames(num_frames=7, num_classes=11), make_layer(7, 11)
    how = {"hard_weight": 0.3, "tail": "uniform"}
    found = essence_linear_loss(hidden, weight, None, *frames.soft(), **how, chunk_frames=3)
    wanted = essence_loss(linear(hidden, weight), *frames.soft(), **how)
    torch.testing.assert_close(found.total, wanted.total)
    gradients = [torch.autograd.grad(x.total, (hidden, weight)) for x in (found, wanted)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("hard_weight", [0.0, 0.5, 1.0])
def test_no_live_frame_costs_and_pulls_nothing(hard_weight: float) -> None:
    for num_frames, weights_N in ((0, None), (7, torch.zeros(7))):
        frames, layer = make_frames(num_frames=num_frames), make_layer(num_frames, 11)
        parts = essence_linear_loss(
            *layer,
            *frames.soft(),
            hard_weight=hard_weight,
            tail="bucket",
            frame_weights_N=weights_N,
        )
        assert (parts.total.item(), parts.num_frames) == (0.0, 0)
        for values, gradient in zip(layer, torch.autograd.grad(parts.total, layer), strict=True):
            assert gradient.shape == values.shape
            assert not gradient.any()


def test_it_is_differentiated_once() -> None:
    frames, layer = make_frames(num_frames=7, num_classes=11), make_layer(7, 11)
    parts = essence_linear_loss(*layer, *frames.soft(), hard_weight=0.3, tail="drop")
    (parts.total * 3).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        parts.total.backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_takes_the_products_in_its_type(dtype: torch.dtype) -> None:
    frames = make_frames(num_frames=401, num_classes=23, k=5, dtype=torch.float32)
    layer = make_layer(401, 23, dtype=torch.float32)
    how = {"hard_weight": 0.3, "tail": "bucket"}
    with torch.autocast("cpu", dtype=dtype):
        found = essence_linear_loss(*layer, *frames.soft(), **how, chunk_frames=100)
        again = essence_loss(linear(*layer), *frames.soft(), **how)
    wanted = essence_linear_loss(*layer, *frames.soft(), **how)
    assert found.total != wanted.total  # or nothing was cast
    torch.testing.assert_close(found.total, again.total, rtol=1e-3, atol=0)
    gradients = [torch.autograd.grad(1024 * x.total, layer) for x in (found, wanted)]
    for rough, exact in zip(*gradients, strict=True):
        assert rough.dtype == torch.float32
        assert (rough - exact).norm() < 0.02 * exact.norm()


MEASURE = """
import sys
from tests.support.makers.loss import peak_memory_of_a_step
print(peak_memory_of_a_step(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_the_logits_are_never_whole_in_memory() -> None:
    peaks = {}
    for form in ("chunks", "logits"):
        ran = subprocess.run(
            [sys.executable, "-c", MEASURE, form],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        )
        peaks[form] = float(ran.stdout)
    assert peaks["chunks"] <= 0.3
    assert peaks["logits"] > 0.95  # or the measurement sees nothing
