"""Audit: soft labels -> what each k keeps and costs, before anybody trains.

Nothing is held but one utterance and a histogram for each k.

Shapes: T frames of an utterance, K kept ranks, k the first k of them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from storage.care.match import match_corpus
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from storage.format.tiers import tier_of
from storage.read.reader import SoftLabelStore
from storage.read.soft_labels import SoftLabels

BINS = 1000  # of kept mass, for its percentiles: a step of 0.001
LOW = 0.05  # the share of frames that keep less than `kept_mass_low`
FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAudit:
    """The first k ranks, as means over all frames.

    `kept_mass_low`: one frame in twenty keeps less, to 0.001. `entropy` is that of the k ranks and
    the tail as one more event, in nats: the teacher's own is at least that. `hard_label_inside` is
    the share of frames with a hard label whose label is among the k; None where none is known.
    `bytes_per_frame` is what a reader of k ranks opens, `num_bytes` the same for the whole store.
    """

    k: int
    kept_mass: float
    kept_mass_low: float
    tail: float
    entropy: float
    hard_label_inside: float | None
    bytes_per_frame: float
    num_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAudit:
    """A store in figures. `agreement` is how often rank 1 is the hard label."""

    split: str
    digest: str
    num_utterances: int
    num_frames: int
    num_classes: int
    kept: int
    dense_bytes_per_frame: int
    num_labelled: int
    agreement: float | None
    ranks: tuple[RankAudit, ...]


@dataclass(slots=True)
class _Tally:
    """Sums over frames for one k."""

    mass: float = 0.0
    tail: float = 0.0
    entropy: float = 0.0
    num_inside: int = 0
    frames_by_mass: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS + 1, np.int64))


def ranks_to_audit(kept: int) -> tuple[int, ...]:
    """1, 2, 4, ... and K itself."""
    powers = [1 << power for power in range(kept.bit_length()) if 1 << power < kept]
    return (*powers, kept)


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
    tallies = {k: _Tally() for k in ranks_to_audit(store.about.kept)}
    num_labelled = 0
    for row in store.utterances:
        labels = store.read_utterance(row.id, store.about.kept)
        _add(tallies, labels)
        if corpus is not None and row.id in corpus:
            hard_T = corpus.labels(corpus.index_of(row.id))
            num_labelled += _add_hard_labels(tallies, labels, hard_T)
        advance(row.num_frames)
    return _finish(store, tallies, num_labelled)


def _add(tallies: dict[int, _Tally], labels: SoftLabels) -> None:
    prob_TK = np.exp(labels.logp_TK.astype(np.float64))
    after_T = labels.tail_T.astype(np.float64)
    total_T = prob_TK.sum(axis=1) + after_T  # one, but for the code's error
    prob_TK, after_T = prob_TK / total_T[:, None], after_T / total_T
    kept_TK = np.cumsum(prob_TK, axis=1)
    surprise_TK = np.cumsum(-prob_TK * np.log(prob_TK), axis=1)
    for k, tally in tallies.items():
        mass_T = kept_TK[:, k - 1]
        tail_T = after_T + prob_TK[:, k:].sum(axis=1)
        tally.mass += float(mass_T.sum())
        tally.tail += float(tail_T.sum())
        tally.entropy += float((surprise_TK[:, k - 1] + _surprise(tail_T)).sum())
        bins_T = np.minimum(mass_T * BINS, BINS).astype(np.int64)
        tally.frames_by_mass += np.bincount(bins_T, minlength=BINS + 1)


def _surprise(prob_T: NDArray[np.float64]) -> NDArray[np.float64]:
    """-p ln p, 0 where p is 0."""
    return -prob_T * np.log(np.where(prob_T > 0, prob_T, 1.0))


def _add_hard_labels(
    tallies: dict[int, _Tally], labels: SoftLabels, hard_T: NDArray[np.int32]
) -> int:
    """Returns the frames whose hard label is known."""
    known_T = hard_T != NO_LABEL
    found_TK = labels.ids_TK[known_T] == hard_T[known_T].astype(np.int64)[:, None]
    for k, tally in tallies.items():
        tally.num_inside += int(found_TK[:, :k].any(axis=1).sum())
    return int(known_T.sum())


def _finish(store: SoftLabelStore, tallies: dict[int, _Tally], num_labelled: int) -> StoreAudit:
    about, frames = store.about, max(1, store.num_frames)
    opened = store.bytes_by_tier()
    bytes_of = {k: opened[about.tiers[tier_of(about.tiers, k)].last] for k in tallies}
    ranks = tuple(
        RankAudit(
            k=k,
            kept_mass=tally.mass / frames,
            kept_mass_low=_percentile(tally.frames_by_mass),
            tail=tally.tail / frames,
            entropy=tally.entropy / frames,
            hard_label_inside=tally.num_inside / num_labelled if num_labelled else None,
            bytes_per_frame=bytes_of[k] / frames,
            num_bytes=bytes_of[k],
        )
        for k, tally in tallies.items()
    )
    return StoreAudit(
        split=about.split,
        digest=store.digest,
        num_utterances=len(store.utterances),
        num_frames=store.num_frames,
        num_classes=about.num_classes,
        kept=about.kept,
        dense_bytes_per_frame=FLOAT32_BYTES * about.num_classes,
        num_labelled=num_labelled,
        agreement=ranks[0].hard_label_inside,
        ranks=ranks,
    )


def _percentile(frames_by_mass: NDArray[np.int64]) -> float:
    """Lower edge of the bin in which the lowest share LOW of the frames ends."""
    below = np.cumsum(frames_by_mass)
    return int(np.searchsorted(below, LOW * below[-1], side="right")) / BINS if below[-1] else 0.0
