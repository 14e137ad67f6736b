"""Essence: the student's objective: hard labels, and soft labels read from a store by utterance id.

Shapes: T frames of an utterance, N real frames of a batch, K kept classes,
H hidden channels, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from stages.student.codes import decode
from stages.student.loss.chunked import essence_linear_loss
from stages.student.loss.definition import SoftTargets
from stages.student.loss.fused import essence_loss
from stages.student.loss.options import LossOptions
from stages.student.null_ranks import Ids, permuted_ranks, redrawn_ranks
from stages.student.settings import StudentSettings
from stages.student.tempering import exponent_for, temper
from stages.student.trust import trust_where_right
from stages.training.batches import Batch
from stages.training.objective import BatchLoss
from storage.contents.frame_map import Span
from storage.corpus.corpus_file import NO_LABEL
from storage.read.reader import SoftLabelStore


@dataclass(frozen=True, slots=True)
class Essence:
    """hard_weight * hard loss + (1 - hard_weight) * soft loss on the store's k best classes."""

    settings: StudentSettings
    store: SoftLabelStore
    # Id -> id whose soft labels it reads: copies without labels of their own (originals.py).
    read_as: Mapping[str, str] = field(default_factory=dict)

    def read(self, batch: Batch) -> tuple[Tensor, ...]:
        """(ids_NK, codes_NK, tail_N) of the batch's frames, in their stored dtypes.

        And log_norm_N, if the student's temperature is not that of the stored labels.

        Raises:
            StoreError: when an utterance is missing, or has fewer frames than the batch.
        """
        spans = [
            Span(self.read_as.get(id, id), piece.start, piece.start + piece.num_frames)
            for id, piece in zip(batch.ids, batch.pieces, strict=True)
        ]
        labels = self.store.read_codes(spans, k=self.settings.k)
        stored = (
            torch.from_numpy(self._classes(labels.ids_TK, spans)),
            torch.from_numpy(labels.codes_TK),
            torch.from_numpy(labels.tail_T),
        )
        if self._exponent == 1:
            return stored
        log_norms = [
            self.store.read_log_norm(span.id, temperature=self._exponent)[span.start : span.stop]
            for span in spans
        ]
        return (*stored, torch.from_numpy(np.concatenate(log_norms)))

    def _classes(self, ids_NK: Ids, spans: Sequence[Span]) -> Ids:
        """The classes of the ranks, as stored or as a null arm has them (null_ranks.py)."""
        if self.settings.ranks == "as_stored":
            return ids_NK
        ends = np.cumsum([span.stop - span.start for span in spans])
        pieces = zip(np.split(ids_NK, ends[:-1]), spans, strict=True)
        return np.concatenate([self._null(ids_TK, span) for ids_TK, span in pieces])

    def _null(self, ids_TK: Ids, span: Span) -> Ids:
        seed, num_classes = self.settings.training.seed, self.store.about.num_classes
        if self.settings.ranks == "permuted":
            return permuted_ranks(ids_TK, id=span.id, start=span.start, seed=seed)
        return redrawn_ranks(
            ids_TK, num_classes=num_classes, id=span.id, start=span.start, seed=seed
        )

    @property
    def _exponent(self) -> float:
        exponent = exponent_for(self.settings.temperature, self.store.about)
        assert exponent is not None  # `check_store` refuses other temperatures
        return exponent

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        """The weighted loss, and its hard and soft parts."""
        soft, settings = self._soft_targets(targets), self.settings
        if settings.trust == "where_right":
            soft = trust_where_right(soft, labels_N)
        options = LossOptions(
            hard_weight=settings.hard_weight, tail=settings.tail, temperature=settings.temperature
        )
        num_logits = len(hidden_NH) * self.store.about.num_classes
        if isinstance(output, nn.Linear) and num_logits > settings.chunk_above:
            layer = (output.weight, output.bias)
            parts = essence_linear_loss(hidden_NH, *layer, labels_N, soft, options)
        else:
            parts = essence_loss(output(hidden_NH), labels_N, soft, options, in_place=True)
        return BatchLoss(
            total=parts.total,
            num_frames=parts.num_frames,
            parts={"hard": float(parts.hard), "soft": float(parts.soft)},
            part_frames={"hard": int((labels_N != NO_LABEL).sum())},
        )

    def _soft_targets(self, stored: tuple[Tensor, ...]) -> SoftTargets:
        """What `read` returned, decoded, at the student's temperature."""
        ids_NK, codes_NK, tail_N, *log_norm_N = stored
        soft = SoftTargets(ids_NK=ids_NK.long(), logp_NK=decode(codes_NK), tail_N=tail_N)
        if not log_norm_N:
            return soft
        return temper(
            soft,
            *log_norm_N,
            temperature=self._exponent,
            num_classes=self.store.about.num_classes,
        )
