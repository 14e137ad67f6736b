"""Prune: a block of K ranks a frame -> how many of them are kept, and exact tails of the others.

Shapes: T frames, K kept ranks, G tiers.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.format.layout import StoreAbout
from storage.format.pruning import Pruning, count_ranks, is_absent
from storage.write.top_k import KeptBlock


class Pruned(NamedTuple):
    """The count (T,) of each frame, the ranks (T, K) after it, and the tails (T, G)."""

    count_T: NDArray[np.intp]
    is_absent_TK: NDArray[np.bool_]
    tail_TG: NDArray[np.float32]


def prune(kept: KeptBlock, about: StoreAbout, pruning: Pruning) -> Pruned:
    """What a pruned store keeps of a block.

    A tail is the one of all K ranks plus the ranks before it that are left out: a frame that keeps
    all ranks has the tails that it has in a store without pruning.
    """
    count_T = count_ranks(kept.logp_TK, pruning)
    is_absent_TK = is_absent(count_T, about.kept)
    out_TK = np.where(is_absent_TK, np.exp(kept.logp_TK.astype(np.float64)), 0.0)
    lasts = [tier.last - 1 for tier in about.tiers]
    tail_TG = kept.tail_TG + np.cumsum(out_TK, axis=1)[:, lasts]
    return Pruned(count_T, is_absent_TK, np.minimum(tail_TG, 1.0).astype(np.float32))
