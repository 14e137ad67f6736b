"""Essence: the student's objective: soft labels by utterance id, beside the hard ones.

Shapes: T frames of an utterance, N real frames of a batch, K ranks,
H hidden channels, C classes.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from stages.errors import BadInput
from stages.speech.batches import Batch
from stages.speech.training.objective import BatchLoss
from stages.student.loss import essence_loss
from stages.student.settings import StudentSettings
from storage.corpus_file import CorpusFile
from storage.store_reader import SoftLabelStore


@dataclass(frozen=True, slots=True)
class Essence:
    """hard_weight * hard labels + the rest * the k best of the teacher. See `essence_loss`."""

    settings: StudentSettings
    store: SoftLabelStore

    def read(self, batch: Batch) -> tuple[Tensor, ...]:
        """(ids_NK int64, logp_NK float32, tail_N float32) of the batch's frames."""
        k = self.settings.k
        ids, logps, tails = [], [], []
        for id, piece in zip(batch.ids, batch.pieces, strict=True):
            labels = self.store.read_utterance(id, k)
            frames = slice(piece.start, piece.start + piece.num_frames)
            ids.append(labels.ids_TK[frames])
            logps.append(labels.logp_TK[frames])
            tails.append(labels.tail_T[frames])
        return (
            torch.from_numpy(np.concatenate(ids).astype(np.int64)),
            torch.from_numpy(np.concatenate(logps)),
            torch.from_numpy(np.concatenate(tails)),
        )

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        """The multitask loss, and its two parts."""
        ids_NK, logp_NK, tail_N = targets
        parts = essence_loss(
            output(hidden_NH),
            labels_N,
            ids_NK,
            logp_NK,
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


def refuse_other_store(
    settings: StudentSettings, store: SoftLabelStore, corpus: CorpusFile
) -> None:
    """Make sure that the store is of this corpus, deep enough, and frame for frame the same.

    Raises:
        StoreMismatch: when it was made from another corpus or class inventory.
        BadInput: when k, the temperature or the frame count of an utterance does not agree.
    """
    store.check_matches(
        corpus_fingerprint=corpus.fingerprint, class_inventory=corpus.about.class_inventory
    )
    if settings.k > store.about.kept:
        raise BadInput(
            f"{store.path} holds K={store.about.kept}, k={settings.k} was asked: lower student.k "
            "or run 'essence teacher' with a larger teacher.kept"
        )
    if settings.temperature != store.about.temperature:
        raise BadInput(
            f"{store.path} holds soft labels at temperature {store.about.temperature}, "
            f"{settings.temperature} was asked: set student.temperature to that, "
            "or run 'essence teacher' with another teacher.temperature"
        )
    for row in store.utterances:
        found = corpus.utterances[corpus.index_of(row.id)].num_frames
        if found != row.num_frames:
            raise BadInput(
                f"utterance {row.id!r}: {row.num_frames} frames in {store.path}, {found} in "
                f"{corpus.path}: run 'essence teacher' on this corpus"
            )


def without_soft_labels(store: SoftLabelStore, corpus: CorpusFile) -> frozenset[str]:
    """Utterances that the teacher has skipped: it was run on this corpus and told to skip bad ones.

    Raises:
        BadInput: when it has skipped all of them.
    """
    skipped = frozenset(row.id for row in corpus.utterances if row.id not in store)
    if len(skipped) == len(corpus.utterances):
        raise BadInput(f"{store.path} holds no utterance of {corpus.path}: mend the ensemble")
    return skipped
