"""Layers: convolution and dropout of the CPU do what torch's own do."""

import pytest
import torch
from torch.nn import functional

from stages.acoustic.models.layers import Dropout, ShiftedConvolution

CASES = [
    # kernel, dilation, ahead, groups
    (3, 1, 1, 1),
    (3, 4, 4, 1),
    (3, 4, 1, 1),  # shifted into the past
    (15, 1, 7, 6),
    (15, 1, 0, 6),
]


@pytest.mark.parametrize(("kernel", "dilation", "ahead", "groups"), CASES)
def test_convolution_and_its_gradients_are_those_of_conv1d_in_float64(
    kernel: int, dilation: int, ahead: int, groups: int
) -> None:
    rng = torch.Generator().manual_seed(1)
    layer = ShiftedConvolution(6, kernel, dilation=dilation, ahead=ahead, groups=groups)
    input_BTH = torch.randn(2, 23, 6, generator=rng, requires_grad=True)
    weights_BHT = torch.randn(2, 6, 23, generator=rng)
    output_BHT = layer(input_BTH.transpose(1, 2))
    (output_BHT * weights_BHT).sum().backward()

    exact_BTH = input_BTH.detach().double().requires_grad_()
    weight, bias = (p.detach().double().requires_grad_() for p in (layer.weight, layer.bias))
    before = (kernel - 1) * dilation - ahead
    padded_BHT = functional.pad(exact_BTH.transpose(1, 2), (before, ahead))
    wanted_BHT = functional.conv1d(padded_BHT, weight, bias, dilation=dilation, groups=groups)
    (wanted_BHT * weights_BHT.double()).sum().backward()

    torch.testing.assert_close(output_BHT.double(), wanted_BHT, rtol=1e-5, atol=1e-5)
    for found, wanted in (
        (input_BTH.grad, exact_BTH.grad),
        (layer.weight.grad, weight.grad),
        (layer.bias.grad if layer.bias is not None else None, bias.grad),
    ):
        assert found is not None
        torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_zeroes_a_share_and_keeps_the_mean(share: float) -> None:
    ones = torch.ones(400, 500, requires_grad=True)
    torch.manual_seed(5)
    dropped = Dropout(share)(ones)
    torch.manual_seed(5)
    assert torch.equal(dropped, Dropout(share)(ones))  # masks follow from the seed
    assert sorted(set(dropped.tolist()[0])) == pytest.approx([0.0, 1 / (1 - share)])
    zeroed = float((dropped == 0).double().mean())
    assert zeroed == pytest.approx(share, abs=5 * (share * (1 - share) / ones.numel()) ** 0.5)
    dropped.sum().backward()
    assert ones.grad is not None
    assert torch.equal(ones.grad, dropped)  # the gradient has the same mask


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dropout_keeps_the_dtype_and_is_the_identity_outside_training(dtype: torch.dtype) -> None:
    values = torch.randn(7, 11, dtype=dtype)
    assert Dropout(0.3)(values).dtype == dtype
    assert torch.equal(Dropout(0.3).eval()(values), values)
    assert torch.equal(Dropout(0.0)(values), values)
