"""The fused loss: memory of the logits, blocks of frames, torch.compile."""

from shutil import which

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from stages.student.loss.definition import SoftTargets
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions, TailPolicy
from tests.support.makers.loss import make_frames
from tests.support.oracles.loss import POLICIES, Form, blocks_of


@pytest.mark.parametrize("tail", POLICIES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_fused_loss_is_the_same_to_the_bit_for_any_block_size(
    tail: TailPolicy, temperature: float
) -> None:
    frames = make_frames(num_frames=37, num_classes=23, k=5, dtype=torch.float32)
    options = LossOptions(hard_weight=0.3, tail=tail, temperature=temperature)
    whole, gradient_NC = Form("whole", essence_loss).loss_and_gradient(frames, options)
    for size in (1, 5, 36, 37, 64):
        form = Form("blocks", essence_loss, setting=lambda z, size=size: blocks_of(size, z))
        parts, found_NC = form.loss_and_gradient(frames, options)
        assert torch.equal(parts.total, whole.total)
        assert torch.equal(found_NC, gradient_NC)


def test_fused_loss_does_not_change_the_logits() -> None:
    frames = make_frames()
    logits_NC = frames.leaf()
    options = LossOptions(hard_weight=0.3, tail="uniform")
    essence_loss(logits_NC, frames.labels_N, frames.soft, options).total.backward()
    assert torch.equal(logits_NC, frames.logits_NC)


@pytest.mark.parametrize("tail", POLICIES)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_fused_loss_in_place_has_the_same_gradient_in_the_memory_of_the_logits(
    tail: TailPolicy, temperature: float, scale: float
) -> None:
    frames = make_frames(dtype=torch.float32)
    options = LossOptions(hard_weight=0.3, tail=tail, temperature=temperature)
    weight = torch.eye(11).requires_grad_()
    gradients = []
    for in_place in (False, True):
        weight.grad = None
        logits_NC = linear(frames.logits_NC, weight)
        parts = essence_loss(logits_NC, frames.labels_N, frames.soft, options, in_place=in_place)
        assert torch.equal(logits_NC, frames.logits_NC) != in_place
        (parts.total * scale).backward()
        gradients.append(weight.grad)
    assert torch.equal(*gradients)


def test_fused_loss_in_place_of_logits_needed_elsewhere_is_refused_by_autograd() -> None:
    frames = make_frames()
    logits_NC = frames.leaf().tanh()  # the gradient of tanh needs its result
    options = LossOptions(hard_weight=0.3, tail="drop")
    parts = essence_loss(logits_NC, frames.labels_N, frames.soft, options, in_place=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        parts.total.backward()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised within torch
@pytest.mark.skipif(which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_fused_loss_is_compiled_whole_to_the_same_loss() -> None:
    frames = make_frames(num_frames=37, num_classes=101, k=5, dtype=torch.float32)
    options = LossOptions(hard_weight=0.3, tail="bucket", temperature=2.0)

    def total(logits_NC: Tensor, labels_N: Tensor, *kept: Tensor) -> Tensor:
        ids_NK, logp_NK, tail_N = kept
        soft = SoftTargets(ids_NK=ids_NK, logp_NK=logp_NK, tail_N=tail_N)
        return essence_loss(logits_NC, labels_N, soft, options).total

    logits_NC, soft = frames.leaf(), frames.soft
    inputs = (logits_NC, frames.labels_N, soft.ids_NK, soft.logp_NK, soft.tail_N)
    found = torch.compile(total, fullgraph=True)(*inputs)
    wanted = total(*inputs)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(3 * each, logits_NC)[0] for each in (found, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)
