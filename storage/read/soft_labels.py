"""SoftLabels: what a store gives back for a run of frames.

A pruned store keeps fewer ranks where a frame is sure: `count_T` is how many of the K ranks a frame
has, and None where all frames have all. Ranks after the count have no probability: that of their
classes is part of the tail.

Shapes: T frames, K kept ranks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.format.pruning import fill_ids, is_absent
from storage.format.value_code import decode_logp


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftLabels:
    """The K most probable classes of each frame, best first, and what lies outside them.

    `logp_TK` is finite and descends along the ranks. `tail_T` is the probability of all other
    classes together. Decoded ranks and tail sum to one only within the value code's error.
    Ranks after a frame's count have the smallest classes that the frame does not have, at e^-16:
    the ids of a frame are distinct, and code that ignores the count is wrong by 1e-7 a rank.
    """

    ids_TK: NDArray[np.uint32]
    logp_TK: NDArray[np.float32]
    tail_T: NDArray[np.float32]
    count_T: NDArray[np.uint16] | None = None

    @property
    def num_frames(self) -> int:
        """T."""
        return int(self.ids_TK.shape[0])

    @property
    def k(self) -> int:
        """K: the ranks that were asked for."""
        return int(self.ids_TK.shape[1])

    @property
    def is_absent_TK(self) -> NDArray[np.bool_]:
        """(T, K): is this rank after the last one of its frame?"""
        count_T = np.full(self.num_frames, self.k) if self.count_T is None else self.count_T
        return is_absent(count_T, self.k)

    def distribution(self, *, num_classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities of the ranks (T, K) and of the tail (T,), scaled to sum to one.

        Every figure of kept mass, entropy or divergence starts here. Where the ranks are all
        `num_classes` classes there is no tail, whatever its code is. Ranks after the count have 0.
        """
        prob_TK = np.exp(self.logp_TK.astype(np.float64))
        if self.count_T is not None:
            prob_TK[self.is_absent_TK] = 0.0
        has_tail_T = self.num_outside_T(num_classes=num_classes) > 0
        tail_T = np.where(has_tail_T, self.tail_T.astype(np.float64), 0.0)
        total_T = prob_TK.sum(axis=1) + tail_T
        return prob_TK / total_T[:, np.newaxis], tail_T / total_T

    def num_outside_T(self, *, num_classes: int) -> NDArray[np.int64]:
        """How many classes have the tail together, (T,)."""
        if self.count_T is None:
            return np.full(self.num_frames, num_classes - self.k)
        return num_classes - self.count_T.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftLabelCodes:
    """Soft labels as they are stored: a quarter of the memory, and looked up where they are needed.

    `LOGP_OF_CODE[codes_TK]` (storage/format/value_code.py, 256 float32) is the log-probability, on
    a CPU or as a table on an accelerator. `ids_TK` is uint16, uint32 above 65534 classes.
    Ranks after a frame's count are class 0 with code 255: leave them out.
    """

    ids_TK: NDArray[np.unsignedinteger[Any]]
    codes_TK: NDArray[np.uint8]
    tail_T: NDArray[np.float32]
    count_T: NDArray[np.uint16] | None = None

    def decode(self) -> SoftLabels:
        """As log-probabilities."""
        ids_TK = self.ids_TK.astype(np.uint32)
        logp_TK = np.empty(self.codes_TK.shape, np.float32)
        decode_logp(self.codes_TK, out=logp_TK)
        if self.count_T is not None:
            fill_ids(ids_TK, is_absent(self.count_T, ids_TK.shape[1]))
        return SoftLabels(ids_TK=ids_TK, logp_TK=logp_TK, tail_T=self.tail_T, count_T=self.count_T)
