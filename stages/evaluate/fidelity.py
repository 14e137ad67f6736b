"""posteriors, soft labels -> agreement with the teacher, divergence, angles between gradients.

The gradient of a cross-entropy at the logits is the system's posteriors minus the target. The
teacher's posteriors outside the kept classes are not stored, only their sum, the tail. As one
event, "none of the kept classes", the tail gives every class outside a gradient in proportion to
the system's own posterior. So no target of width C is needed.

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
    """Sums over frames of products of a gradient and the full one, for a GradientMatch."""

    dot: float = 0.0
    own: float = 0.0
    full: float = 0.0
    cosines: float = 0.0
    num_frames: int = 0

    def add(self, dot_T: Floats, own_T: Floats, full_T: Floats) -> None:
        """Add the product of both gradients, and the squared norm of each."""
        self.dot += float(dot_T.sum())
        self.own += float(own_T.sum())
        self.full += float(full_T.sum())
        norms_T = np.sqrt(own_T * full_T)
        has_angle_T = norms_T > 0  # a gradient of zero has no direction
        self.cosines += float((dot_T[has_angle_T] / norms_T[has_angle_T]).sum())
        self.num_frames += int(has_angle_T.sum())

    def result(self) -> GradientMatch | None:
        if not self.num_frames:
            return None
        return GradientMatch(
            overall=_cosine(self.dot / float(np.sqrt(self.own * self.full))),
            mean=_cosine(self.cosines / self.num_frames),
        )


def _cosine(value: float) -> float:
    return min(1.0, max(-1.0, value))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Utterance:
    """Posteriors of system and teacher for one utterance, and the gradient towards the teacher.

    outside_T, squares_T: sum and sum of squares of the system's posteriors outside.
    scale_T: the gradient of a class outside, divided by the system's posterior of the class.
    label_T: the system's posterior of the hard label.
    """

    ids_TK: NDArray[np.int64]
    teacher_TK: Floats
    tail_T: Floats
    log_system_TK: Floats
    system_TK: Floats
    outside_T: Floats
    squares_T: Floats
    label_T: Floats

    @property
    def scale_T(self) -> Floats:
        return 1.0 - self.tail_T / self.outside_T

    @property
    def full_TK(self) -> Floats:
        """The gradient towards all ranks and the tail, at the kept classes."""
        return self.system_TK - self.teacher_TK

    @property
    def full_T(self) -> Floats:
        """Its squared norm, over all classes."""
        kept_T: Floats = (self.full_TK**2).sum(axis=1)
        return kept_T + self.scale_T**2 * self.squares_T


def _read_utterance(
    logp_TC: NDArray[np.float32],
    soft: SoftLabels,
    labels_T: NDArray[np.int32],
    temperature: float,
) -> _Utterance:
    softened_TC = soften(logp_TC, temperature).astype(np.float64)
    # Ranks without a class repeat the first one: their classes are outside, as all others.
    ids_TK = np.where(soft.is_absent_TK, soft.ids_TK[:, :1], soft.ids_TK).astype(np.int64)
    teacher_TK, tail_T = soft.distribution(num_classes=logp_TC.shape[1])
    log_system_TK = np.take_along_axis(softened_TC, ids_TK, axis=1)
    system_TC = np.exp(softened_TC, out=softened_TC)
    system_TK = np.take_along_axis(system_TC, ids_TK, axis=1)
    system_TK[soft.is_absent_TK] = 0.0
    labels_T1 = np.maximum(labels_T, 0).astype(np.int64)[:, None]  # NO_LABEL is filtered later
    label_T = np.take_along_axis(system_TC, labels_T1, axis=1)[:, 0]
    # In place, after all reads of the kept classes: what remains is the posteriors outside.
    np.put_along_axis(system_TC, ids_TK, 0.0, axis=1)
    return _Utterance(
        ids_TK=ids_TK,
        teacher_TK=teacher_TK,
        tail_T=tail_T,
        log_system_TK=log_system_TK,
        system_TK=system_TK,
        outside_T=np.maximum(system_TC.sum(axis=1), SMALLEST_PROB),
        squares_T=np.einsum("tc,tc->t", system_TC, system_TC),
        label_T=label_T,
    )


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
        """Add an utterance."""
        found = _read_utterance(logp_TC, soft, labels_T, self.temperature)
        self.num_frames += soft.num_frames
        self.num_agreed += int((logp_TC.argmax(axis=1) == found.ids_TK[:, 0]).sum())
        ratio_TK = _safe_log(found.teacher_TK) - found.log_system_TK
        self.nats += float((found.teacher_TK * ratio_TK).sum())
        ratio_T = _safe_log(found.tail_T) - np.log(found.outside_T)
        self.nats += float((found.tail_T * ratio_T).sum())
        for k in self.ranks:
            self._count_rank(found, k)
        self._count_hard_labels(found, labels_T)

    def _count_rank(self, found: _Utterance, k: int) -> None:
        """The gradient towards the first k ranks, scaled to sum to one."""
        kept_TK = np.where(np.arange(found.teacher_TK.shape[1]) < k, found.teacher_TK, 0.0)
        own_TK = found.system_TK - kept_TK / kept_TK.sum(axis=1, keepdims=True)
        # Outside the kept classes the target is 0: the gradient there is the posterior itself.
        dot_T = (found.full_TK * own_TK).sum(axis=1) + found.scale_T * found.squares_T
        own_T = (own_TK**2).sum(axis=1) + found.squares_T
        self.by_rank.setdefault(k, _Angles()).add(dot_T, own_T, found.full_T)

    def _count_hard_labels(self, found: _Utterance, labels_T: NDArray[np.int32]) -> None:
        """The gradient towards the hard label: the posteriors, minus 1 at the label."""
        is_label_TK = found.ids_TK == labels_T[:, None]
        full_at_label_T = np.where(
            is_label_TK.any(axis=1),
            (found.full_TK * is_label_TK).sum(axis=1),
            found.scale_T * found.label_T,
        )
        dot_T = (found.full_TK * found.system_TK).sum(axis=1)
        dot_T += found.scale_T * found.squares_T - full_at_label_T
        own_T = (found.system_TK**2).sum(axis=1) + found.squares_T - 2 * found.label_T + 1
        known_T = labels_T != NO_LABEL
        self.hard.add(dot_T[known_T], own_T[known_T], found.full_T[known_T])

    def result(self, store: str) -> Fidelity | None:
        """The fidelity; None if no frame was counted. `store` is the digest of the soft labels."""
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
