"""Audit: one pass over a store -> what each k keeps and costs, before a student is trained.

Memory holds one utterance and a histogram for each k.

Shapes: T frames of an utterance, K kept ranks, k the first k of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.care.match import match_corpus
from storage.care.store_audit import PERCENTILES, StoreAudit
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from storage.format.tiers import ranks_to_show, tier_of
from storage.format.value_code import FLOOR
from storage.read.reader import SoftLabelStore
from storage.read.soft_labels import SoftLabels

BINS = 1000  # of kept mass, for its percentiles: a step of 0.001


@dataclass(slots=True)
class _Tally:
    """Sums over frames for one k."""

    mass: float = 0.0
    entropy: float = 0.0
    num_ranks: int = 0
    num_with_all: int = 0  # frames that have k ranks
    num_inside: int = 0
    frames_by_mass: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS + 1, np.int64))


@dataclass(slots=True)
class _LabelledTally:
    """Sums over frames with a hard label."""

    num_frames: int = 0
    entropy: float = 0.0
    nats: float = 0.0  # -ln q(label)


def audit_store(
    store: SoftLabelStore,
    *,
    corpus: CorpusFile | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> StoreAudit:
    """The audit of a whole store; with `corpus`, also against its hard labels.

    `advance` is called with the number of frames after each utterance. The corpus may hold more
    utterances than the store, or fewer.

    Raises:
        StoreMismatch: if the store was made from another corpus.
    """
    if corpus is not None:
        match_corpus(store, corpus)
    about = store.about
    tallies = {k: _Tally() for k in ranks_to_show(about.kept)}
    labelled = _LabelledTally()
    # Shard by shard, since the ranks of a shard lie in the same objects.
    for row in (
        store.utterances[i] for shard in range(store.num_shards) for i in store.shard(shard)
    ):
        labels = store.read_utterance(row.id, about.kept)
        _add(tallies, labels, num_classes=about.num_classes)
        if corpus is not None and row.id in corpus:
            hard_T = corpus.labels(corpus.index_of(row.id))
            _add_hard_labels(tallies, labels, hard_T)
            _add_to_labelled(labelled, labels, hard_T, num_classes=about.num_classes)
        advance(row.num_frames)
    return _finish(store, tallies, labelled)


def _add(tallies: dict[int, _Tally], labels: SoftLabels, *, num_classes: int) -> None:
    prob_TK, _ = labels.distribution(num_classes=num_classes)
    kept_TK = np.minimum(np.cumsum(prob_TK, axis=1), 1.0)
    surprise_TK = np.cumsum(_surprise(prob_TK), axis=1)
    for k, tally in tallies.items():
        if labels.count_T is not None:
            tally.num_ranks += int(np.minimum(labels.count_T, k).sum())
            tally.num_with_all += int((labels.count_T >= k).sum())
        mass_T = kept_TK[:, k - 1]
        tally.mass += float(mass_T.sum())
        tally.entropy += float((surprise_TK[:, k - 1] + _surprise(1.0 - mass_T)).sum())
        tally.frames_by_mass += np.bincount((mass_T * BINS).astype(np.int64), minlength=BINS + 1)


def _surprise(prob: NDArray[np.float64]) -> NDArray[np.float64]:
    """-p ln p, 0 where p is 0."""
    return -prob * np.log(np.where(prob > 0, prob, 1.0))


def _add_to_labelled(
    tally: _LabelledTally, labels: SoftLabels, hard_T: NDArray[np.int32], *, num_classes: int
) -> None:
    """A label outside the kept ranks has an equal share of the tail, at least e^FLOOR."""
    known_T = hard_T != NO_LABEL
    prob_TK, tail_T = (part[known_T] for part in labels.distribution(num_classes=num_classes))
    is_label_TK = _is_label(labels, hard_T)[known_T]
    num_outside_T = labels.num_outside_T(num_classes=num_classes)[known_T]
    outside_T = tail_T / np.maximum(1, num_outside_T)
    q_T = np.where(is_label_TK.any(axis=1), (prob_TK * is_label_TK).sum(axis=1), outside_T)
    tally.num_frames += int(known_T.sum())
    tally.nats -= float(np.log(np.maximum(q_T, np.exp(FLOOR))).sum())
    tally.entropy += float(_surprise(prob_TK).sum() + _surprise(tail_T).sum())


def _add_hard_labels(
    tallies: dict[int, _Tally], labels: SoftLabels, hard_T: NDArray[np.int32]
) -> None:
    found_TK = _is_label(labels, hard_T)[hard_T != NO_LABEL]
    for k, tally in tallies.items():
        tally.num_inside += int(found_TK[:, :k].any(axis=1).sum())


def _is_label(labels: SoftLabels, hard_T: NDArray[np.int32]) -> NDArray[np.bool_]:
    """(T, K): is this rank the hard label?"""
    is_label_TK = labels.ids_TK == hard_T.astype(np.int64)[:, np.newaxis]
    return np.asarray(is_label_TK & ~labels.is_absent_TK)


def _finish(
    store: SoftLabelStore, tallies: dict[int, _Tally], labelled: _LabelledTally
) -> StoreAudit:
    about, frames, num_labelled = store.about, max(1, store.num_frames), labelled.num_frames
    opened = store.bytes_by_tier()
    inside = {k: tally.num_inside / max(1, num_labelled) for k, tally in tallies.items()}
    return StoreAudit(
        split=about.split,
        digest=store.digest,
        num_utterances=len(store.utterances),
        num_frames=store.num_frames,
        num_classes=about.num_classes,
        kept=about.kept,
        kept_mass={k: tally.mass / frames for k, tally in tallies.items()},
        kept_mass_percentiles={k: _percentiles(t.frames_by_mass) for k, t in tallies.items()},
        entropy={k: tally.entropy / frames for k, tally in tallies.items()},
        hard_label_inside=inside if num_labelled else {},
        num_labelled=num_labelled,
        labelled_entropy=labelled.entropy / num_labelled if num_labelled else None,
        label_nats=labelled.nats / num_labelled if num_labelled else None,
        # A tier is opened whole: k ranks cost what the last rank of their tier costs.
        bytes_per_frame={
            k: opened[about.tiers[tier_of(about.tiers, k)].last] / frames for k in tallies
        },
        left_out=about.left_out,
        mean_ranks=_only_pruned(store, {k: t.num_ranks / frames for k, t in tallies.items()}),
        with_all_ranks=_only_pruned(
            store, {k: t.num_with_all / frames for k, t in tallies.items()}
        ),
    )


def _only_pruned(store: SoftLabelStore, figures: dict[int, float]) -> dict[int, float]:
    return {} if store.about.pruning is None else figures


def _percentiles(frames_by_mass: NDArray[np.int64]) -> tuple[float, ...]:
    """Lower edges of the bins in which PERCENTILES of the frames end."""
    below = np.cumsum(frames_by_mass)
    wanted = [percent / 100 * below[-1] for percent in PERCENTILES]
    return tuple(int(np.searchsorted(below, count)) / BINS for count in wanted)
