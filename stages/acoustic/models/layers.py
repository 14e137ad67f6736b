"""Layers of the convolutional architectures: residual, over frames near t.

A layer that may look `ahead` frames into the future has the same kernel as any other: the kernel is
moved into the past, and what it loses of the future it gains there.

Shapes: B utterances, T frames of the longest, H hidden channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.acoustic.models.look_ahead import CONV_KERNEL_FRAMES


class ShiftedConvolution(nn.Conv1d):
    """A convolution along time: the output at t reads inputs until t + `ahead`.

    There are as many outputs as inputs: frames before the first and after the last are zeros.

    On a CPU it is computed as a convolution over images of one row, in the memory format
    channels_last: activations (B, T, H) in memory have that format as they are. `conv1d` copies
    them to another one, and its kernels for one channel a group are three times slower.
    """

    def __init__(self, hidden: int, kernel: int, *, dilation: int, ahead: int, groups: int) -> None:
        reach = (kernel - 1) * dilation
        is_symmetric = 2 * ahead == reach
        super().__init__(
            hidden,
            hidden,
            kernel,
            padding=ahead if is_symmetric else 0,  # no copy of the input
            dilation=dilation,
            groups=groups,
        )
        self._zeros = (0, 0) if is_symmetric else (reach - ahead, ahead)

    def forward(self, input: Tensor) -> Tensor:
        """(B, H, T) -> (B, H, T)."""
        if input.device.type != "cpu":
            return super().forward(self._padded(input))
        row_BH1T = functional.conv2d(
            self._padded(input.unsqueeze(2)),  # padded as an image it keeps its memory format
            self.weight.unsqueeze(2),
            self.bias,
            padding=(0, *self.padding),
            dilation=(1, *self.dilation),
            groups=self.groups,
        )
        return row_BH1T.squeeze(2)

    def _padded(self, input: Tensor) -> Tensor:
        return functional.pad(input, self._zeros) if any(self._zeros) else input


class Dropout(nn.Dropout):
    """nn.Dropout; on a CPU its masks are drawn in less than half the time.

    Torch draws them there with `bernoulli_`, one number after the other in float64, which is a
    tenth of a step of these models.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Values are zeroed with probability p; the others are multiplied by 1 / (1 - p)."""
        if not self.training or not self.p or input.device.type != "cpu":
            return super().forward(input)
        kept = torch.rand_like(input, dtype=torch.float32).ge_(self.p)
        return input * kept.mul_(1 / (1 - self.p)).to(input.dtype)


class TdnnLayer(nn.Module):
    """x + dropout(relu(convolution(norm(x)))), over t-d, t, t+d, moved to end at t + `ahead`.

    The norm comes before the convolution: after it, dev frame error on AN4 was a tenth higher.
    """

    def __init__(self, hidden: int, *, dilation: int, ahead: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.convolution = ShiftedConvolution(hidden, 3, dilation=dilation, ahead=ahead, groups=1)
        self.dropout = Dropout(dropout)

    def forward(self, hidden_BTH: Tensor, live_BT1: Tensor) -> Tensor:
        """One layer; frames past an utterance's end are zeroed before the convolution."""
        normal_BTH = self.norm(hidden_BTH) * live_BT1
        mixed_BTH = self.convolution(normal_BTH.transpose(1, 2)).transpose(1, 2)
        out_BTH: Tensor = hidden_BTH + self.dropout(torch.relu(mixed_BTH))
        return out_BTH


class ConvLayer(nn.Module):
    """x + dropout(W silu(norm(depthwise(glu(V norm(x))))))."""

    def __init__(self, hidden: int, *, ahead: int, dropout: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(hidden)
        self.widen = nn.Linear(hidden, 2 * hidden)
        self.depthwise = ShiftedConvolution(
            hidden, CONV_KERNEL_FRAMES, dilation=1, ahead=ahead, groups=hidden
        )
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, hidden)
        self.dropout = Dropout(dropout)

    def forward(self, hidden_BTH: Tensor, live_BT1: Tensor) -> Tensor:
        """One layer; frames past an utterance's end are zeroed before the convolution."""
        gated_BTH = functional.glu(self.widen(self.norm_in(hidden_BTH)), dim=2) * live_BT1
        mixed_BTH = self.depthwise(gated_BTH.transpose(1, 2)).transpose(1, 2)
        out_BTH: Tensor = self.dropout(self.project(functional.silu(self.norm(mixed_BTH))))
        return hidden_BTH + out_BTH
