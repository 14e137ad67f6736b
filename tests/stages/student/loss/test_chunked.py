"""Output layer and loss in chunks: the gradients of the layer, autocast, memory."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from stages.student.loss.chunked import essence_linear_loss
from stages.student.loss.definition import SoftTargets, dense_loss
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions
from tests.support.makers.loss import Frames, make_frames
from tests.support.oracles.loss import HARD_ALONE, MIXED, OPTIONS

BUCKET = LossOptions(hard_weight=0.3, tail="bucket", temperature=2.0)


def make_layer(
    num_frames: int, num_classes: int, *, hidden: int = 5, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor]:
    """Activations, weight, bias: leaves that want gradients."""
    rng = torch.Generator().manual_seed(1)
    shapes = ((num_frames, hidden), (num_classes, hidden), (num_classes,))
    values = [torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in shapes]
    return tuple(value.to(dtype).requires_grad_() for value in values)


def total(
    frames: Frames, layer: tuple[Tensor | None, ...], options: LossOptions, *, chunk_frames: int = 4
) -> Tensor:
    parts = essence_linear_loss(
        *layer, frames.labels_N, frames.soft, options, chunk_frames=chunk_frames
    )
    return parts.total


@pytest.mark.parametrize("options", [*OPTIONS, HARD_ALONE], ids=str)
def test_chunked_loss_is_the_definition_of_the_layers_logits(options: LossOptions) -> None:
    """RELIABILITY 29."""
    frames, layer = make_frames(num_frames=13), make_layer(13, 11)
    for weights_N in (None, torch.linspace(0, 2, 13, dtype=torch.float64)):
        batch = (frames.labels_N, frames.soft, options)
        found = essence_linear_loss(*layer, *batch, frame_weights_N=weights_N, chunk_frames=4)
        wanted = dense_loss(linear(*layer), *batch, frame_weights_N=weights_N)
        torch.testing.assert_close(found.total, wanted.total)
        gradients = [torch.autograd.grad(3 * parts.total, layer) for parts in (found, wanted)]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("options", [*MIXED, HARD_ALONE], ids=str)
def test_chunked_loss_has_the_gradients_of_its_own_value(options: LossOptions) -> None:
    frames, layer = make_frames(num_frames=3, num_classes=5, k=2), make_layer(3, 5, hidden=2)
    assert torch.autograd.gradcheck(
        lambda *layer: total(frames, layer, options, chunk_frames=2), layer, atol=1e-7
    )


@pytest.mark.parametrize("chunk_frames", [1, 4, 36, 37, 64])
def test_chunked_loss_changes_with_the_chunk_size_by_rounding_only(chunk_frames: int) -> None:
    frames, layer = make_frames(num_frames=37, num_classes=23, k=5), make_layer(37, 23)
    found, whole = (total(frames, layer, BUCKET, chunk_frames=n) for n in (chunk_frames, 37))
    torch.testing.assert_close(found, whole, rtol=1e-13, atol=0)
    gradients = [torch.autograd.grad(each, layer) for each in (found, whole)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)


def test_chunked_loss_gives_gradients_to_trained_tensors_only() -> None:
    frames, layer = make_frames(), make_layer(7, 11)
    every_gradient = torch.autograd.grad(total(frames, layer, BUCKET), layer)
    for trained in range(3):
        values = tuple(x.detach().requires_grad_(i == trained) for i, x in enumerate(layer))
        total(frames, values, BUCKET).backward()
        for i, value in enumerate(values):
            assert (value.grad is not None) == (i == trained)
        torch.testing.assert_close(values[trained].grad, every_gradient[trained])


def test_chunked_loss_of_a_layer_without_bias() -> None:
    frames, (hidden, weight, _) = make_frames(), make_layer(7, 11)
    found = total(frames, (hidden, weight, None), BUCKET)
    wanted = dense_loss(linear(hidden, weight), frames.labels_N, frames.soft, BUCKET).total
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(each, (hidden, weight)) for each in (found, wanted)]
    torch.testing.assert_close(*gradients)


def test_chunked_loss_of_no_frames_is_zero() -> None:
    frames, layer = make_frames(num_frames=0), make_layer(0, 11)
    loss = total(frames, layer, BUCKET)
    assert loss.item() == 0
    for values, gradient in zip(layer, torch.autograd.grad(loss, layer), strict=True):
        assert gradient.shape == values.shape
        assert not gradient.any()


def test_chunked_loss_is_differentiated_once() -> None:
    loss = total(make_frames(), make_layer(7, 11), BUCKET)
    (loss * 3).backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_chunked_loss_under_autocast_has_products_in_its_dtype(dtype: torch.dtype) -> None:
    frames = make_frames(num_frames=401, num_classes=23, k=5, dtype=torch.float32)
    layer, options = make_layer(401, 23, dtype=torch.float32), BUCKET
    with torch.autocast("cpu", dtype=dtype):
        found = total(frames, layer, options, chunk_frames=100)
        in_turn = essence_loss(linear(*layer), frames.labels_N, frames.soft, options).total
    wanted = total(frames, layer, options)
    assert found != wanted  # otherwise nothing was cast
    torch.testing.assert_close(found, in_turn, rtol=1e-3, atol=0)
    gradients = [torch.autograd.grad(1024 * each, layer) for each in (found, wanted)]
    for rough, exact in zip(*gradients, strict=True):
        assert rough.dtype == torch.float32
        assert (rough - exact).norm() < 0.02 * exact.norm()


def peak_memory_of_a_step(form: str, *, num_frames: int = 4096, num_classes: int = 9000) -> float:
    """Memory that a step of output layer and loss adds to the process, relative to the logits'.

    `form` is "chunked" or "fused". The peak is that of the whole life of a process.
    """
    layer, options = torch.nn.Linear(8, num_classes), LossOptions(hard_weight=0.3, tail="drop")
    hidden_NH = torch.randn(num_frames, 8).requires_grad_()

    def step(rows: slice) -> None:
        h, ids = hidden_NH[rows], torch.arange(8).expand(len(hidden_NH[rows]), 8)
        soft = SoftTargets(ids_NK=ids, logp_NK=torch.zeros(ids.shape), tail_N=torch.zeros(len(h)))
        batch = (ids[:, 0], soft, options)
        if form == "chunked":
            parts = essence_linear_loss(h, layer.weight, layer.bias, *batch)
        else:
            parts = essence_loss(layer(h), *batch, in_place=True)
        parts.total.backward()

    step(slice(0, 3))  # allocates the weights' gradients, and the libraries' own memory
    before = peak_memory_bytes()
    step(slice(None))
    return (peak_memory_bytes() - before) / (4 * num_frames * num_classes)


def peak_memory_bytes() -> int:
    """The most memory that this process has ever had."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


MEASURE = """
import sys
from tests.stages.student.loss.test_chunked import peak_memory_of_a_step
print(peak_memory_of_a_step(sys.argv[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/status")
def test_chunked_loss_never_has_all_logits_in_memory() -> None:
    peaks = {}
    for form in ("chunked", "fused"):
        ran = subprocess.run(
            [sys.executable, "-c", MEASURE, form],
            check=True,
            capture_output=True,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        )
        peaks[form] = float(ran.stdout)
    assert peaks["chunked"] <= 0.3
    assert peaks["fused"] > 0.95  # otherwise the measurement sees nothing
