"""Layers of the convolutional architectures: residual, over frames near t.

Shapes: B utterances, T frames of the longest, H hidden channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

TDNN_DILATIONS = (1, 2, 4, 6, 8)  # the layers take turns
CONV_KERNEL_FRAMES = 15


class TdnnLayer(nn.Module):
    """x + dropout(relu(convolution(norm(x)))), over frames t-d, t, t+d.

    The norm comes before the convolution: after it, dev frame error on AN4 was a tenth higher.
    """

    def __init__(self, hidden: int, *, dilation: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden)
        self.convolution = nn.Conv1d(hidden, hidden, 3, padding=dilation, dilation=dilation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BTH: Tensor, live_BT1: Tensor) -> Tensor:
        """One layer; frames past an utterance's end are zeroed before the convolution."""
        normal_BTH = self.norm(hidden_BTH) * live_BT1
        mixed_BTH = self.convolution(normal_BTH.transpose(1, 2)).transpose(1, 2)
        out_BTH: Tensor = hidden_BTH + self.dropout(torch.relu(mixed_BTH))
        return out_BTH


class ConvLayer(nn.Module):
    """x + dropout(W silu(norm(depthwise(glu(V norm(x))))))."""

    def __init__(self, hidden: int, *, dropout: float) -> None:
        super().__init__()
        self.norm_in = nn.LayerNorm(hidden)
        self.widen = nn.Linear(hidden, 2 * hidden)
        self.depthwise = nn.Conv1d(
            hidden, hidden, CONV_KERNEL_FRAMES, padding=CONV_KERNEL_FRAMES // 2, groups=hidden
        )
        self.norm = nn.LayerNorm(hidden)
        self.project = nn.Linear(hidden, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden_BTH: Tensor, live_BT1: Tensor) -> Tensor:
        """One layer; frames past an utterance's end are zeroed before the convolution."""
        gated_BTH = functional.glu(self.widen(self.norm_in(hidden_BTH)), dim=2) * live_BT1
        mixed_BTH = self.depthwise(gated_BTH.transpose(1, 2)).transpose(1, 2)
        out_BTH: Tensor = self.dropout(self.project(functional.silu(self.norm(mixed_BTH))))
        return hidden_BTH + out_BTH
