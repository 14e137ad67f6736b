"""AcousticModel: features in, one row of logits a frame out. Families that make unlike errors.

    package.module:factory      the user's code: own_architecture.py
    tdnn        residual layers over frames t-d, t, t+d with growing dilation d
    gru, lstm   bidirectional recurrence over the whole utterance
    conv        residual gated convolutions, wide and depthwise (the Conformer's convolution module)

With `right_context: N` the output at t depends on no frame after t + N: convolutions look fewer
frames ahead and more back, recurrences run forwards only and give their output N frames late.

Padding never changes a result: frames after the end of an utterance are zeroed before every layer
that reads neighbouring frames, normalisation is over channels only, recurrences run on packed
sequences.

Shapes: B utterances, T frames of the longest, F feature dims, H hidden channels, C classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from stages.acoustic.models.layers import ConvLayer, Dropout, TdnnLayer
from stages.acoustic.models.look_ahead import TDNN_DILATIONS
from stages.acoustic.models.own_architecture import check_own, make_own
from stages.acoustic.models.settings import ArchitectureSettings

SMALLEST_STD = 1e-4  # a constant feature must not be scaled up


class ConvolutionBody(nn.Module):
    """A projection to H channels, then the residual layers of "tdnn" or "conv"."""

    def __init__(self, settings: ArchitectureSettings, feature_dim: int) -> None:
        super().__init__()
        hidden, dropout = settings.hidden, settings.dropout
        self.width = hidden
        self.project = nn.Linear(feature_dim, hidden)
        self.layers = nn.ModuleList(
            TdnnLayer(
                hidden,
                dilation=TDNN_DILATIONS[number % len(TDNN_DILATIONS)],
                ahead=ahead,
                dropout=dropout,
            )
            if settings.kind == "tdnn"
            else ConvLayer(hidden, ahead=ahead, dropout=dropout)
            for number, ahead in enumerate(settings.look_ahead)
        )
        self.norm = nn.LayerNorm(hidden)

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Hidden activations (B, T, H)."""
        live_BT1 = _live(features_BTF, lengths_B)
        hidden_BTH: Tensor = self.project(features_BTF)
        for layer in self.layers:
            hidden_BTH = layer(hidden_BTH, live_BT1)
        out_BTH: Tensor = self.norm(hidden_BTH)
        return out_BTH


class RecurrentBody(nn.Module):
    """Layers of bidirectional GRU or LSTM, H channels a direction; forwards only with a limit.

    With a limit of N frames the state after frame t + N is the output at t; after the last frame
    N frames of zeros follow.
    """

    def __init__(self, settings: ArchitectureSettings, feature_dim: int) -> None:
        super().__init__()
        is_causal = settings.right_context is not None
        self.width = settings.hidden if is_causal else 2 * settings.hidden
        self._delay = settings.right_context or 0
        family = nn.GRU if settings.kind == "gru" else nn.LSTM
        between = settings.dropout if settings.layers > 1 else 0.0  # torch warns about one layer
        self.recurrence = family(
            feature_dim,
            settings.hidden,
            settings.layers,
            batch_first=True,
            bidirectional=not is_causal,
            dropout=between,
        )
        self.dropout = Dropout(settings.dropout)

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Hidden activations (B, T, 2 H), or (B, T, H) with a limit."""
        delay, num_frames = self._delay, features_BTF.shape[1]
        if delay:
            live_BTF = features_BTF * _live(features_BTF, lengths_B)
            features_BTF = functional.pad(live_BTF, (0, 0, 0, delay))
        packed = pack_padded_sequence(
            features_BTF, lengths_B.cpu() + delay, batch_first=True, enforce_sorted=False
        )
        hidden_BTH, _ = pad_packed_sequence(
            self.recurrence(packed)[0], batch_first=True, total_length=num_frames + delay
        )
        out_BTH: Tensor = self.dropout(hidden_BTH[:, delay:])
        return out_BTH


class AcousticModel(nn.Module):
    """Normalises features by the training split's mean and deviation, then body and output layer.

    Softmax of the logits is the posterior over the classes.
    """

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, settings: ArchitectureSettings, feature_dim: int, num_classes: int) -> None:
        super().__init__()
        self.settings = settings
        self.feature_dim = feature_dim
        self.num_classes = num_classes
        self.register_buffer("feature_mean", torch.zeros(feature_dim))
        self.register_buffer("feature_std", torch.ones(feature_dim))
        self.body: nn.Module
        self.output: nn.Module
        if settings.is_own:
            self.body = make_own(
                settings.kind, settings.options, feature_dim=feature_dim, num_classes=num_classes
            )
            self.output = nn.Identity()
            return
        recurrent = settings.kind in ("gru", "lstm")
        body = (RecurrentBody if recurrent else ConvolutionBody)(settings, feature_dim)
        self.body, self.output = body, nn.Linear(body.width, num_classes)

    def set_normalisation(self, mean_F: Tensor, std_F: Tensor) -> None:
        """Set the mean and the standard deviation of the features."""
        self.feature_mean.copy_(mean_F)
        self.feature_std.copy_(std_F.clamp(min=SMALLEST_STD))

    def hidden(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """What the output layer sees: (B, T, H), or (B, T, 2 H) of a bidirectional recurrence.

        Of a model of the user's own: the logits, and the output layer changes nothing.
        Every length is at least 1; rows past it mean nothing.
        """
        normal_BTF = (features_BTF - self.feature_mean) / self.feature_std
        hidden_BTH: Tensor = self.body(normal_BTF, lengths_B)
        return hidden_BTH

    def forward(self, features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
        """Logits (B, T, C): the output layer over `hidden`."""
        logits_BTC: Tensor = self.output(self.hidden(features_BTF, lengths_B))
        return logits_BTC


def build_model(
    settings: ArchitectureSettings, feature_dim: int, num_classes: int
) -> AcousticModel:
    """A new model. Its weights are drawn from torch's generator: seed that in a `fork_rng`.

    Raises:
        BadInput: when it is the user's own and may not be run, or is not what a model must be.
    """
    model = AcousticModel(settings, feature_dim, num_classes)
    if settings.is_own:
        kind, body = settings.kind, model.body
        check_own(
            kind,
            body,
            feature_dim=feature_dim,
            num_classes=num_classes,
            right_context=settings.right_context,
        )
    return model


@contextmanager
def without_weights(settings: ArchitectureSettings) -> Iterator[None]:
    """Where a model is built whose weights come from elsewhere: no memory, no random number.

    One's own takes memory: its code may compute what it keeps beside its weights.
    """
    with torch.random.fork_rng([]) if settings.is_own else torch.device("meta"):
        yield


def num_parameters(model: nn.Module) -> int:
    """How many weights are trained."""
    return sum(weights.numel() for weights in model.parameters())


def _live(features_BTF: Tensor, lengths_B: Tensor) -> Tensor:
    frame_T = torch.arange(features_BTF.shape[1], device=features_BTF.device)
    live_BT = frame_T < lengths_B.to(features_BTF.device)[:, None]
    return live_BT.to(features_BTF.dtype)[:, :, None]
