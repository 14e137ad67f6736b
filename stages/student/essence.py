"""Essence: the student's objective: hard labels, and soft labels read from a store by utterance id.

Shapes: T frames of an utterance, N real frames of a batch, K kept classes,
H hidden channels, C classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
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
from storage.read.soft_labels import SoftLabelCodes


@dataclass(frozen=True, slots=True)
class Essence:
    """hard_weight * hard loss + (1 - hard_weight) * soft loss on the store's k best classes."""

    settings: StudentSettings
    store: SoftLabelStore
    # Id -> id whose soft labels it reads: copies without labels of their own (originals.py).
    read_as: Mapping[str, str] = field(default_factory=dict)

    def read(self, batch: Batch) -> tuple[Tensor, ...]:
        """(ids_NK, codes_NK, tail_N) of the batch's frames, in their stored dtypes.

        And count_N, if the store is pruned; log_norm_N, if the student's temperature is not that
        of the stored labels.

        Raises:
            StoreError: when an utterance is missing, or has fewer frames than the batch.
        """
        spans = [
            Span(self.read_as.get(id, id), piece.start, piece.start + piece.num_frames)
            for id, piece in zip(batch.ids, batch.pieces, strict=True)
        ]
        labels = self.store.read_codes(spans, k=self.settings.k)
        stored = [self._classes(labels, spans), labels.codes_TK, labels.tail_T]
        if labels.count_T is not None:
            stored.append(labels.count_T.astype(np.int32))
        if self._exponent != 1:
            stored.append(np.concatenate([self._log_norm(span) for span in spans]))
        return tuple(map(torch.from_numpy, stored))

    def _log_norm(self, span: Span) -> NDArray[np.float32]:
        log_norm_T = self.store.read_log_norm(span.id, temperature=self._exponent)
        return log_norm_T[span.start : span.stop]

    def _classes(self, labels: SoftLabelCodes, spans: Sequence[Span]) -> Ids:
        """The classes of the ranks, as stored or as a null arm has them (null_ranks.py)."""
        if self.settings.ranks == "as_stored":
            return labels.ids_TK
        ends = np.cumsum([0, *(span.stop - span.start for span in spans)])
        pieces = [slice(*each) for each in pairwise(ends)]
        return np.concatenate(
            [self._null(labels, rows, span) for rows, span in zip(pieces, spans, strict=True)]
        )

    def _null(self, labels: SoftLabelCodes, rows: slice, span: Span) -> Ids:
        seed, num_classes = self.settings.training.seed, self.store.about.num_classes
        ids_TK = labels.ids_TK[rows]
        if self.settings.ranks == "permuted":
            count_T = None if labels.count_T is None else labels.count_T[rows]
            return permuted_ranks(ids_TK, id=span.id, start=span.start, seed=seed, count_T=count_T)
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
        soft, settings = self.soft_targets(targets), self.settings
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

    def soft_targets(self, stored: tuple[Tensor, ...]) -> SoftTargets:
        """What `read` returned, decoded, at the student's temperature."""
        ids_NK, codes_NK, tail_N, *others = stored
        soft = SoftTargets(
            ids_NK=ids_NK.long(),
            logp_NK=decode(codes_NK),
            tail_N=tail_N,
            count_N=None if self.store.about.pruning is None else others.pop(0),
        )
        if not others:
            return soft
        return temper(
            soft,
            *others,
            temperature=self._exponent,
            num_classes=self.store.about.num_classes,
        )
