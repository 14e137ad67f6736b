"""posteriors, soft labels -> agreement with the teacher, divergence, directions of gradients.

The gradient of a cross-entropy at the logits is the system's posteriors less the target. What the
teacher thinks outside its kept classes is not known; as one event, "none of these", it pulls on
the system's own posteriors there in proportion. No vector of width C is made but the posteriors.

Shapes: T frames, C classes, K kept ranks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.contract.results import Fidelity, GradientMatch
from stages.members.ensemble_posteriors import soften
from storage.corpus.corpus_file import NO_LABEL
from storage.read.soft_labels import SoftLabels

SMALLEST_PROB = np.finfo(np.float64).tiny
Floats = NDArray[np.float64]


@dataclass(slots=True)
class _Angles:
    """Sums that make one GradientMatch."""

    dot: float = 0.0
    own: float = 0.0
    full: float = 0.0
    cosines: float = 0.0
    num_frames: int = 0

    def add(self, dot_T: Floats, own_T: Floats, full_T: Floats) -> None:
        """Products of two gradients and of each with itself."""
        self.dot += float(dot_T.sum())
        self.own += float(own_T.sum())
        self.full += float(full_T.sum())
        norms_T = np.sqrt(own_T * full_T)
        live_T = norms_T > 0  # a gradient of zero has no direction
        self.cosines += float((dot_T[live_T] / norms_T[live_T]).sum())
        self.num_frames += int(live_T.sum())

    def result(self) -> GradientMatch | None:
        if not self.num_frames:
            return None
        return GradientMatch(
            overall=_cosine(self.dot / float(np.sqrt(self.own * self.full))),
            mean=_cosine(self.cosines / self.num_frames),
        )


def _cosine(value: float) -> float:
    return min(1.0, max(-1.0, value))


@dataclass(slots=True)
class FidelityTally:
    """Sums over frames, in float64. `ranks`: the k whose gradients are compared."""

    ranks: Sequence[int]
    temperature: float
    num_frames: int = 0
    num_agreed: int = 0
    nats: float = 0.0
    by_rank: dict[int, _Angles] = field(default_factory=dict)
    hard: _Angles = field(default_factory=_Angles)

    def count(
        self, logp_TC: NDArray[np.float32], soft: SoftLabels, labels_T: NDArray[np.int32]
    ) -> None:
        """One more utterance."""
        softened_TC = soften(logp_TC, self.temperature).astype(np.float64)
        ids_TK = soft.ids_TK.astype(np.int64)
        prob_TK, tail_T = soft.distribution(num_classes=logp_TC.shape[1])
        self.num_frames += soft.num_frames
        self.num_agreed += int((logp_TC.argmax(axis=1) == ids_TK[:, 0]).sum())
        logs_TK = np.take_along_axis(softened_TC, ids_TK, axis=1)
        ours_TC = np.exp(softened_TC, out=softened_TC)
        ours_TK = np.take_along_axis(ours_TC, ids_TK, axis=1)
        label_T = np.maximum(labels_T, 0).astype(np.int64)[:, None]
        ours_label_T = np.take_along_axis(ours_TC, label_T, axis=1)[:, 0]
        np.put_along_axis(ours_TC, ids_TK, 0.0, axis=1)  # what is left is outside
        outside_T = np.maximum(ours_TC.sum(axis=1), SMALLEST_PROB)
        squares_T = np.einsum("tc,tc->t", ours_TC, ours_TC)
        self.nats += float((prob_TK * (np.log(prob_TK) - logs_TK)).sum())
        self.nats += float((tail_T * (_safe_log(tail_T) - np.log(outside_T))).sum())

        pull_T = 1.0 - tail_T / outside_T  # of each class outside, times its posterior
        full_TK = ours_TK - prob_TK
        full_T = (full_TK**2).sum(axis=1) + pull_T**2 * squares_T
        for k in self.ranks:
            target_TK = np.where(np.arange(prob_TK.shape[1]) < k, prob_TK, 0.0)
            own_TK = ours_TK - target_TK / target_TK.sum(axis=1, keepdims=True)
            dot_T = (full_TK * own_TK).sum(axis=1) + pull_T * squares_T
            own_T = (own_TK**2).sum(axis=1) + squares_T
            self.by_rank.setdefault(k, _Angles()).add(dot_T, own_T, full_T)

        known_T = labels_T != NO_LABEL
        is_label_TK = ids_TK == label_T
        at_label_T = np.where(
            is_label_TK.any(axis=1), (full_TK * is_label_TK).sum(axis=1), pull_T * ours_label_T
        )
        dot_T = (full_TK * ours_TK).sum(axis=1) + pull_T * squares_T - at_label_T
        own_T = (ours_TK**2).sum(axis=1) + squares_T - 2 * ours_label_T + 1
        self.hard.add(dot_T[known_T], own_T[known_T], full_T[known_T])

    def result(self, store: str) -> Fidelity | None:
        """None where no frame was counted. `store` is the digest of the soft labels."""
        if not self.num_frames:
            return None
        matches = {k: angles.result() for k, angles in self.by_rank.items()}
        return Fidelity(
            store=store,
            num_frames=self.num_frames,
            agreement=self.num_agreed / self.num_frames,
            divergence=max(0.0, self.nats / self.num_frames),
            by_rank={k: match for k, match in matches.items() if match is not None},
            hard_labels=self.hard.result(),
        )


def _safe_log(prob_T: Floats) -> Floats:
    return np.log(np.maximum(prob_T, SMALLEST_PROB))
