"""EssenceLoss: the student's loss as an nn.Module, over padded logits or over (hidden, layer).

The definition is that of stages/student/loss/definition.py; this file removes the padding, moves
the soft labels to the device of the logits and decodes them there.

Shapes: B utterances, T frames, C classes, H hidden channels, N frames without padding.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from stages.student.foreign.batch import SoftLabelBatch
from stages.student.foreign.frames import RealFrames
from stages.student.loss.chunked import essence_linear_loss
from stages.student.loss.definition import LossParts, SoftTargets
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions, TailPolicy

Reduction = Literal["mean", "sum"]
F = TypeVar("F", bound=Callable[..., Any])
NO_LABEL = -1
CHUNK_ABOVE = 1 << 23  # logits: from here on, never to hold them all costs no time


def _uncompiled(function: F) -> F:
    """Keep torch.compile from tracing it: a compiled step runs up to it, and on after it.

    The number of frames differs from batch to batch, and gradients are made in the forward pass.
    """
    wrapped: F = torch.compiler.disable(function)  # type: ignore[no-untyped-call, unused-ignore]
    return wrapped


@dataclass(frozen=True, slots=True, kw_only=True)
class EssenceParts:
    """A loss and its parts, in nats. Only `total` has a gradient.

    `hard` is the mean over frames with a hard label, `soft` over frames with soft labels.
    `num_frames` counts the frames of the mean `total`, `num_missing` the utterances of the batch
    that have no soft labels.
    """

    total: Tensor
    hard: Tensor
    soft: Tensor
    num_frames: int
    num_missing: int


class EssenceLoss(nn.Module):
    """hard_weight * cross-entropy with hard labels + (1 - hard_weight) * that with soft labels.

    The mean over all frames of a batch that have a hard label or soft labels. A frame that lacks
    one of them has the other part alone, with its weight. See docs/library.md for gradient
    accumulation and several processes.

    Args:
        hard_weight: 0 to 1.
        tail: where the probability outside the kept classes goes: "renormalize" (to the kept
            classes), "bucket" (to all others as one event), "uniform" (to each other class),
            "truth" (to the hard label), "drop" (nowhere).
        temperature: of the soft part, whose value is multiplied by its square; the source must
            have the same.
        reduction: "mean", or "sum" over frames.

    Raises:
        ValueError: when an argument is out of range.
    """

    def __init__(
        self,
        *,
        hard_weight: float,
        tail: TailPolicy = "renormalize",
        temperature: float = 1.0,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _refuse_unknown("tail", tail, get_args(TailPolicy))
        _refuse_unknown("reduction", reduction, get_args(Reduction))
        self.options = LossOptions(hard_weight=hard_weight, tail=tail, temperature=temperature)
        self.reduction = reduction

    @_uncompiled
    def forward(
        self,
        logits: Tensor | tuple[Tensor, nn.Module],
        labels: Tensor | None,
        soft: SoftLabelBatch,
    ) -> Tensor:
        """The loss, a scalar. Arguments are those of `parts`."""
        return self.parts(logits, labels, soft).total

    @_uncompiled
    def parts(
        self,
        logits: Tensor | tuple[Tensor, nn.Module],
        labels: Tensor | None,
        soft: SoftLabelBatch,
    ) -> EssenceParts:
        """The loss and its parts.

        With (hidden, layer) logits are `layer(hidden)`; if the layer is an nn.Linear without hooks
        and the batch is large, they are never all in memory.

        Args:
            logits: (B, T, C), before the softmax, of any floating dtype and device; or a pair of
                hidden activations (B, T, H) and the output layer.
            labels: (B, T) hard labels, negative where there is none; None if there are none.
            soft: the utterances' soft labels, on any device.

        Raises:
            ValueError: when shapes, classes or temperatures do not fit.
        """
        values, layer = _split(logits)
        self._refuse_misfit(values, layer, labels, soft)
        frames, device = RealFrames.of(soft.lengths_B), values.device
        values_NX = frames.pick(values)
        labels_N = _no_labels(len(frames), device) if labels is None else frames.pick(labels)
        targets = soft.to(device, non_blocking=True).targets(
            frames.index(soft.tail_BT.shape[1], device)
        )
        is_copy = values_NX.data_ptr() != values.data_ptr()
        parts = self._loss(
            values_NX, layer, labels_N.to(device, non_blocking=True), targets, is_copy=is_copy
        )
        total = parts.total * parts.num_frames if self.reduction == "sum" else parts.total
        return EssenceParts(
            total=total,
            hard=parts.hard,
            soft=parts.soft,
            num_frames=parts.num_frames,
            num_missing=len(soft.missing),
        )

    def extra_repr(self) -> str:
        """The settings, as `print` shows them."""
        options = self.options
        return (
            f"hard_weight={options.hard_weight}, tail={options.tail!r}, "
            f"temperature={options.temperature}, reduction={self.reduction!r}"
        )

    def _loss(
        self,
        values_NX: Tensor,
        layer: nn.Linear | None,
        labels_N: Tensor,
        soft: SoftTargets,
        *,
        is_copy: bool,
    ) -> LossParts:
        options = self.options
        if layer is not None and len(values_NX) * layer.out_features > CHUNK_ABOVE:
            return essence_linear_loss(values_NX, layer.weight, layer.bias, labels_N, soft, options)
        if layer is not None:
            values_NX, is_copy = layer(values_NX), True
        return essence_loss(values_NX, labels_N, soft, options, in_place=is_copy)

    def _refuse_misfit(
        self, values: Tensor, layer: nn.Linear | None, labels: Tensor | None, soft: SoftLabelBatch
    ) -> None:
        name = "logits" if layer is None else "hidden"
        if values.dim() != 3 or not values.is_floating_point():
            raise ValueError(
                f"{name} have shape {tuple(values.shape)} and dtype {values.dtype}, wanted "
                "floating point (batch, frames, channels)"
            )
        _refuse_short(name, values, soft)
        num_classes = values.shape[2] if layer is None else layer.out_features
        if num_classes != soft.num_classes:
            raise ValueError(
                f"the model has {num_classes} classes, {soft.where} {soft.num_classes}: soft "
                "labels of other classes cannot be used"
            )
        if soft.temperature != self.options.temperature and self.options.hard_weight < 1:
            raise ValueError(
                f"the loss has temperature={self.options.temperature:g}, the soft labels "
                f"{soft.temperature:g}: give both the same, SoftLabelSource(..., temperature=...)"
            )
        if labels is not None:
            _refuse_bad_labels(labels, soft)
        elif self.options.hard_weight == 1:
            raise ValueError("labels are None and hard_weight is 1: nothing is learnt; give labels")


def _split(logits: Tensor | tuple[Tensor, nn.Module]) -> tuple[Tensor, nn.Linear | None]:
    """Logits and no layer; or hidden activations, and a layer that is its weight and bias alone.

    Any other layer is applied here, to the padded batch, as it may depend on neighbouring frames.
    """
    if isinstance(logits, Tensor):
        return logits, None
    hidden, layer = logits
    if (
        isinstance(layer, nn.Linear)
        and type(layer).forward is nn.Linear.forward
        and not (layer._forward_hooks or layer._forward_pre_hooks)
    ):
        return hidden, layer
    return layer(hidden), None


def _refuse_short(name: str, values: Tensor, soft: SoftLabelBatch) -> None:
    longest = int(soft.lengths_B.amax()) if len(soft) else 0
    if values.shape[0] != len(soft) or values.shape[1] < longest:
        raise ValueError(
            f"{name} have shape {tuple(values.shape)}, the soft labels are of {len(soft)} "
            f"utterances of up to {longest} frames: give the ids and lengths of this batch"
        )


def _refuse_bad_labels(labels: Tensor, soft: SoftLabelBatch) -> None:
    if labels.dim() != 2 or labels.is_floating_point():
        raise ValueError(
            f"labels have shape {tuple(labels.shape)} and dtype {labels.dtype}, wanted integers "
            "(batch, frames)"
        )
    _refuse_short("labels", labels, soft)
    # On a GPU, looking at them would make the host wait.
    if labels.device.type == "cpu" and labels.numel() and int(labels.max()) >= soft.num_classes:
        raise ValueError(
            f"labels hold class {int(labels.max())}, wanted below {soft.num_classes}, or negative "
            "where there is none"
        )


def _no_labels(num_frames: int, device: torch.device) -> Tensor:
    return torch.full((num_frames,), NO_LABEL, device=device)


def _refuse_unknown(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} is {value!r}: choose one of {', '.join(map(repr, known))}")
