"""SoftLabelBatch: the soft labels of a padded batch as a store holds them, 3 bytes a rank.

Utterances are padded at their ends. Frames without soft labels hold distinct ids and no mass.

Shapes: B utterances, T frames of the longest one, K kept classes, N frames that are picked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stages.student.codes import decode
from stages.student.loss.definition import SoftTargets
from stages.student.tempering import temper

SMALLEST = 255  # the code of the smallest probability


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SoftLabelBatch:
    """Soft labels of B utterances: `SoftLabelSource` makes it, `EssenceLoss` decodes it.

    Lengths stay on the CPU, so that the loss need not wait for a GPU to know them.

    Attributes:
        ids_BTK: class ids, uint16, or uint32 above 65534 classes; the most probable first.
        codes_BTK: uint8; `essence.LOGP_OF_CODE` has their log-probabilities.
        tail_BT: float32, the probability of all other classes.
        log_norm_BT: float32, there only if the temperature is not that of the stored labels.
        count_BT: int32, ranks of each frame, there only if the store is pruned; those after the
            count do not count.
        lengths_B: frames of each utterance, int64.
        soft_lengths_B: leading frames with soft labels: 0 if the store does not hold the utterance.
        ids: the utterances, as they were asked for.
        is_held: whether the store holds each of them.
        num_classes: classes of the store; the logits must have as many.
        temperature: of the soft labels; the loss must have the same.
        exponent: from the temperature of the stored labels to that one.
        where: the store, for messages.
    """

    ids_BTK: Tensor
    codes_BTK: Tensor
    tail_BT: Tensor
    log_norm_BT: Tensor | None
    count_BT: Tensor | None
    lengths_B: Tensor
    soft_lengths_B: Tensor
    ids: tuple[str, ...]
    is_held: tuple[bool, ...]
    num_classes: int
    temperature: float
    exponent: float
    where: str

    def __len__(self) -> int:
        return len(self.lengths_B)

    def __repr__(self) -> str:
        return (
            f"SoftLabelBatch({len(self)} utterances of up to {self.tail_BT.shape[1]} frames, "
            f"k={self.k}, {len(self.missing)} without soft labels, {self.where})"
        )

    @property
    def k(self) -> int:
        """K: the ranks of each frame."""
        return self.ids_BTK.shape[2]

    @property
    def missing(self) -> tuple[str, ...]:
        """Utterances without soft labels."""
        return tuple(id for id, held in zip(self.ids, self.is_held, strict=True) if not held)

    @property
    def is_complete(self) -> bool:
        """Has every frame soft labels?"""
        return torch.equal(self.lengths_B, self.soft_lengths_B)

    def to(
        self, device: torch.device | str | int, *, non_blocking: bool = False
    ) -> "SoftLabelBatch":
        """The codes on a device; lengths stay on the CPU."""
        return self._each(lambda values: values.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "SoftLabelBatch":
        """The codes in page-locked memory, from which a GPU copies while it computes."""
        return self._each(lambda values: values.pin_memory())

    def split(self) -> list["SoftLabelBatch"]:
        """One batch for each utterance, without padding; `join_batches` joins them again."""
        parts = []
        for at, length in enumerate(self.lengths_B.tolist()):
            frames = (slice(at, at + 1), slice(length))
            part = self._each(itemgetter(frames))
            parts.append(
                replace(
                    part,
                    ids=self.ids[at : at + 1],
                    is_held=self.is_held[at : at + 1],
                    lengths_B=self.lengths_B[at : at + 1],
                    soft_lengths_B=self.soft_lengths_B[at : at + 1],
                )
            )
        return parts

    def targets(self, frames_N: Tensor | None) -> SoftTargets:
        """Soft targets of frames by their index in (B * T), on the device of the codes.

        None for all frames, in order.
        """
        soft = SoftTargets(
            ids_NK=picked(self.ids_BTK.long(), frames_N),  # torch cannot index uint16
            logp_NK=decode(picked(self.codes_BTK, frames_N)),
            tail_N=picked(self.tail_BT, frames_N),
            count_N=None if self.count_BT is None else picked(self.count_BT, frames_N),
        )
        if self.log_norm_BT is not None:
            log_norm_N = picked(self.log_norm_BT, frames_N)
            exponent, num_classes = self.exponent, self.num_classes
            soft = temper(soft, log_norm_N, temperature=exponent, num_classes=num_classes)
        if self.is_complete:
            return soft
        present_BT = torch.arange(self.tail_BT.shape[1]) < self.soft_lengths_B[:, None]
        return replace(soft, present_N=picked(present_BT.to(self.tail_BT.device), frames_N))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "SoftLabelBatch":
        return replace(
            self,
            ids_BTK=change(self.ids_BTK),
            codes_BTK=change(self.codes_BTK),
            tail_BT=change(self.tail_BT),
            log_norm_BT=None if self.log_norm_BT is None else change(self.log_norm_BT),
            count_BT=None if self.count_BT is None else change(self.count_BT),
        )


@dataclass(frozen=True, slots=True)
class PaddedCodes:
    """Arrays of a batch that are filled; until then, no frame has mass."""

    ids_BTK: NDArray[Any]
    codes_BTK: NDArray[np.uint8]
    tail_BT: NDArray[np.float32]
    log_norm_BT: NDArray[np.float32] | None
    count_BT: NDArray[np.int32] | None

    @classmethod
    def empty(
        cls,
        num_utterances: int,
        num_frames: int,
        k: int,
        *,
        dtype: Any,
        tempered: bool,
        pruned: bool,
    ) -> "PaddedCodes":
        """Frames without soft labels."""
        ids_BTK = np.empty((num_utterances, num_frames, k), dtype)
        ids_BTK[...] = np.arange(k)  # distinct, as the loss needs them
        tail_BT = np.zeros(ids_BTK.shape[:2], np.float32)
        codes_BTK = np.full(ids_BTK.shape, SMALLEST, np.uint8)
        log_norm_BT = np.zeros_like(tail_BT) if tempered else None
        count_BT = np.full(tail_BT.shape, k, np.int32) if pruned else None
        return cls(ids_BTK, codes_BTK, tail_BT, log_norm_BT, count_BT)

    def put(self, at: Any, ids: Any, codes: Any, tail: Any, log_norm: Any, count: Any) -> None:
        """Soft labels of the frames `at`, an index of the first two dimensions."""
        self.ids_BTK[at], self.codes_BTK[at], self.tail_BT[at] = ids, codes, tail
        if self.log_norm_BT is not None:
            self.log_norm_BT[at] = log_norm
        if self.count_BT is not None:
            self.count_BT[at] = count

    def tensors(self) -> dict[str, Any]:
        """The fields of a batch, sharing memory."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: None if v is None else torch.from_numpy(v) for name, v in values.items()}


def join_batches(batches: Sequence[SoftLabelBatch]) -> SoftLabelBatch:
    """The utterances of several batches of one source, all on the CPU, padded to the longest.

    Raises:
        ValueError: if there is no batch.
    """
    if not batches:
        raise ValueError("no soft labels to join: give those of one utterance at least")
    first = batches[0]
    padded = PaddedCodes.empty(
        sum(map(len, batches)),
        max(batch.tail_BT.shape[1] for batch in batches),
        first.k,
        dtype=first.ids_BTK.numpy().dtype,
        tempered=first.log_norm_BT is not None,
        pruned=first.count_BT is not None,
    )
    at = 0
    for each in batches:
        rows = np.s_[at : at + len(each), : each.tail_BT.shape[1]]
        padded.put(
            rows, each.ids_BTK, each.codes_BTK, each.tail_BT, each.log_norm_BT, each.count_BT
        )
        at += len(each)
    return replace(
        first,
        **padded.tensors(),
        lengths_B=torch.cat([batch.lengths_B for batch in batches]),
        soft_lengths_B=torch.cat([batch.soft_lengths_B for batch in batches]),
        ids=tuple(id for batch in batches for id in batch.ids),
        is_held=tuple(held for batch in batches for held in batch.is_held),
    )


def picked(values_BTX: Tensor, frames_N: Tensor | None) -> Tensor:
    """Frames of a padded batch by their index in (B * T), or all: (B, T, ...) -> (N, ...)."""
    flat = values_BTX.flatten(0, 1)
    return flat if frames_N is None else flat.index_select(0, frames_N)
