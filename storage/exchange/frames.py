"""Frames of a source: what another program kept of an utterance, before it is reduced to K ranks.

    dense     a log-probability of each class        a matrix of Kaldi, an array of numpy
    sparse    pairs (class, probability), any number   Kaldi's Posterior

Shapes: T frames, C classes, P pairs of all frames, one frame after the other.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.files.fingerprint import array_digest

MAX_LOG_SUM = 1e-3  # |ln sum of probabilities| of a dense frame, as for a member's posteriors
MAX_MASS = 1.02  # of the pairs of a frame: decoded from a store they exceed 1 by up to 0.015
BLOCK_VALUES = 1 << 20  # values worked on at once

Advance = Callable[[float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFrames:
    """`count_T` pairs of each frame; ids and probabilities in any order within a frame."""

    ids_P: NDArray[np.int32]
    prob_P: NDArray[np.float32]
    count_T: NDArray[np.int64]

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.count_T)

    @property
    def most_pairs(self) -> int:
        """The largest number of pairs of a frame."""
        return int(self.count_T.max(initial=0))

    @property
    def mass_T(self) -> NDArray[np.float64]:
        """The probability of all pairs of a frame."""
        mass_T = np.bincount(self.frame_P, weights=self.prob_P, minlength=self.num_frames)
        return mass_T.astype(np.float64)  # without pairs it counts integers

    @property
    def frame_P(self) -> NDArray[np.int64]:
        """The frame of each pair."""
        return np.repeat(np.arange(self.num_frames), self.count_T)

    @property
    def digest(self) -> str:
        """SHA-256 of all values."""
        return array_digest(self.ids_P, self.prob_P, self.count_T)

    def check(self, *, num_classes: int, normalise: bool, where: str) -> None:
        """Make sure that each frame is a distribution, or a part of one.

        Raises:
            StoreError: naming the first frame that is neither.
        """
        ids_P, prob_P, frame_P = self.ids_P, self.prob_P, self.frame_P
        bad_P = (ids_P < 0) | (ids_P >= num_classes)
        if bad_P.any():
            at = int(np.argmax(bad_P))
            _refuse(where, frame_P[at], f"class {ids_P[at]}, wanted 0 to {num_classes - 1}")
        bad_P = ~(np.isfinite(prob_P) & (prob_P >= 0))
        if bad_P.any():
            at = int(np.argmax(bad_P))
            text = f"the weight of class {ids_P[at]} is {prob_P[at]}, wanted a probability"
            _refuse(where, frame_P[at], text)
        key_P = np.sort(frame_P * num_classes + ids_P)
        twice_P = key_P[1:] == key_P[:-1]
        if twice_P.any():
            frame, id = divmod(int(key_P[int(np.argmax(twice_P))]), num_classes)
            _refuse(where, frame, f"class {id} comes twice")
        mass_T = self.mass_T
        if (mass_T == 0).any():
            frame = int(np.argmax(mass_T == 0))
            _refuse(where, frame, "no class has a probability: wanted one pair at least")
        if not normalise and (mass_T > MAX_MASS).any():
            frame = int(np.argmax(mass_T > MAX_MASS))
            text = f"the probabilities sum to {mass_T[frame]:.4g}, wanted at most 1"
            _refuse(where, frame, f"{text}: are they scaled? --normalise divides by the sum")

    def normalised(self) -> "SparseFrames":
        """Each frame divided by its sum."""
        prob_P = (self.prob_P / self.mass_T[self.frame_P]).astype(np.float32)
        return SparseFrames(ids_P=self.ids_P, prob_P=prob_P, count_T=self.count_T)


@dataclass(frozen=True, slots=True)
class DenseFrames:
    """Natural logarithms of the probabilities of all classes; -inf is allowed."""

    logp_TC: NDArray[np.float32]

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.logp_TC)

    @property
    def digest(self) -> str:
        """SHA-256 of all values."""
        return array_digest(self.logp_TC)

    def check(self, *, num_classes: int, normalise: bool, where: str) -> None:
        """Make sure that each frame is a distribution; any finite sum is one with `normalise`.

        Raises:
            StoreError: naming the first frame that is none.
        """
        if not self.num_frames:
            return
        found = self.logp_TC.shape[1]
        if found != num_classes:
            raise StoreError(
                f"{where}: {found} columns, wanted one for each of {num_classes} classes"
            )
        for start, log_sum_T in self._log_sums():
            bad_T = ~np.isfinite(log_sum_T)
            if bad_T.any():
                frame = int(np.argmax(bad_T))
                _refuse(where, start + frame, self._not_finite(start + frame))
            bad_T = np.abs(log_sum_T) > MAX_LOG_SUM
            if not normalise and bad_T.any():
                frame = int(np.argmax(bad_T))
                with np.errstate(over="ignore"):
                    mass = float(np.exp(log_sum_T[frame]))
                text = f"the probabilities sum to {mass:.6g}, wanted 1"
                cure = "are they natural logarithms (--posteriors-are)? --normalise divides by it"
                _refuse(where, start + frame, f"{text}: {cure}")

    def normalised(self) -> "DenseFrames":
        """Each frame divided by its sum."""
        logp_TC = self.logp_TC.copy()
        for start, log_sum_T in self._log_sums():
            logp_TC[start : start + len(log_sum_T)] -= log_sum_T[:, np.newaxis]
        return DenseFrames(logp_TC)

    def _log_sums(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        step = max(1, BLOCK_VALUES // max(1, self.logp_TC.shape[1]))
        for start in range(0, self.num_frames, step):
            logp_TC = self.logp_TC[start : start + step].astype(np.float64)
            best_T1 = logp_TC.max(axis=1, keepdims=True)
            with np.errstate(invalid="ignore"):  # inf - inf; a NaN is reported by the caller
                yield start, best_T1[:, 0] + np.log(np.exp(logp_TC - best_T1).sum(axis=1))

    def _not_finite(self, frame: int) -> str:
        logp_C = self.logp_TC[frame]
        at = int(np.argmax(np.isnan(logp_C) | (logp_C == np.inf)))
        return f"the log-probability of class {at} is {logp_C[at]}: wanted a finite one"


Frames = SparseFrames | DenseFrames


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceUtterance:
    """One utterance of a source. `where` names file and position, for messages."""

    id: str
    where: str
    frames: Frames


class Source(Protocol):
    """Utterances of another program's files; each iteration reads them again, in one order."""

    @property
    def name(self) -> str:
        """The files, for messages."""

    @property
    def num_bytes(self) -> int:
        """Sum of the arguments that an iteration gives to `advance`."""

    def utterances(self, advance: Advance) -> Iterator[SourceUtterance]:
        """All utterances, one in memory at a time. Raises EssenceError for damaged files."""


def _refuse(where: str, frame: Any, text: str) -> None:
    raise StoreError(f"{where}, frame {int(frame)}: {text}")
