"""Essence: the student's objective: soft labels by utterance id, beside the hard ones.

Shapes: T frames of an utterance, N real frames of a batch, K ranks,
H hidden channels, C classes.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from stages.speech.batches import Batch
from stages.speech.training.objective import BatchLoss
from stages.student.loss import essence_loss
from stages.student.settings import StudentSettings
from storage.frame_map import Span
from storage.store_reader import SoftLabelStore
from storage.value_code import LOGP_OF_CODE


@dataclass(frozen=True, slots=True)
class Essence:
    """hard_weight * hard labels + the rest * the k best of the teacher. See `essence_loss`."""

    settings: StudentSettings
    store: SoftLabelStore

    def read(self, batch: Batch) -> tuple[Tensor, ...]:
        """(ids_NK, codes_NK, tail_N) of the batch's frames, as narrow as they are stored.

        Raises:
            StoreError: when an utterance is not there, or has fewer frames than the batch wants.
        """
        spans = [
            Span(id, piece.start, piece.start + piece.num_frames)
            for id, piece in zip(batch.ids, batch.pieces, strict=True)
        ]
        labels = self.store.read_codes(spans, k=self.settings.k)
        return (
            torch.from_numpy(labels.ids_TK),
            torch.from_numpy(labels.codes_TK),
            torch.from_numpy(labels.tail_T),
        )

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        """The multitask loss, and its two parts."""
        ids_NK, codes_NK, tail_N = targets
        parts = essence_loss(
            output(hidden_NH),
            labels_N,
            ids_NK.long(),
            decode(codes_NK),
            tail_N,
            hard_weight=self.settings.hard_weight,
            tail=self.settings.tail,
            temperature=self.settings.temperature,
            in_place=True,
        )
        return BatchLoss(
            total=parts.total,
            num_frames=parts.num_frames,
            parts={"hard": float(parts.hard), "soft": float(parts.soft)},
        )


def decode(codes_NK: Tensor) -> Tensor:
    """Log-probabilities of codes, float32, looked up on the device where the codes are."""
    table = _logp_of_code(codes_NK.device)
    return table.index_select(0, codes_NK.int().flatten()).view(codes_NK.shape)


@cache
def _logp_of_code(device: torch.device) -> Tensor:
    return torch.from_numpy(LOGP_OF_CODE).to(device)
