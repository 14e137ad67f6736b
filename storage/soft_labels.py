"""SoftLabels: what a store gives back for a run of frames.

Shapes: T frames, K kept ranks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
