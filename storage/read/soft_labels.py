"""SoftLabels: what a store gives back for a run of frames.

Shapes: T frames, K kept ranks.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.format.value_code import decode_logp


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftLabels:
    """The K most probable classes of each frame, best first, and what lies outside them.

    `logp_TK` is finite and descends along the ranks. `tail_T` is the probability of all other
    classes together. Decoded ranks and tail sum to one only within the value code's error.
    """

    ids_TK: NDArray[np.uint32]
    logp_TK: NDArray[np.float32]
    tail_T: NDArray[np.float32]

    @property
    def num_frames(self) -> int:
        """T."""
        return int(self.ids_TK.shape[0])

    @property
    def k(self) -> int:
        """K: the ranks that were asked for."""
        return int(self.ids_TK.shape[1])

    def distribution(self, *, num_classes: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Probabilities of the ranks (T, K) and of the tail (T,), scaled to sum to one.

        Every figure of kept mass, entropy or divergence starts here. Where the ranks are all
        `num_classes` classes there is no tail, whatever its code is.
        """
        prob_TK = np.exp(self.logp_TK.astype(np.float64))
        has_tail = self.k < num_classes
        tail_T = self.tail_T.astype(np.float64) if has_tail else np.zeros(self.num_frames)
        total_T = prob_TK.sum(axis=1) + tail_T
        return prob_TK / total_T[:, np.newaxis], tail_T / total_T


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftLabelCodes:
    """Soft labels as they are stored: a quarter of the memory, and looked up where they are needed.

    `LOGP_OF_CODE[codes_TK]` (storage/format/value_code.py, 256 float32) is the log-probability, on
    a CPU or as a table on an accelerator. `ids_TK` is uint16, uint32 above 65534 classes.
    """

    ids_TK: NDArray[np.unsignedinteger[Any]]
    codes_TK: NDArray[np.uint8]
    tail_T: NDArray[np.float32]

    def decode(self) -> SoftLabels:
        """As log-probabilities."""
        logp_TK = np.empty(self.codes_TK.shape, np.float32)
        decode_logp(self.codes_TK, out=logp_TK)
        return SoftLabels(ids_TK=self.ids_TK.astype(np.uint32), logp_TK=logp_TK, tail_T=self.tail_T)
