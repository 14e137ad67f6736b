"""Comparison of a store with its source: what a reader must return, within the value code's bound.

The bound is half a step of the code: at most 0.063 nats, at ln p = -16, and less for larger
probabilities. Smaller probabilities than e^-16 count as e^-16.

Shapes: T frames, K kept ranks.
"""

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreCorrupt
from storage.files.fingerprint import array_digest
from storage.format.layout import StoreAbout
from storage.format.pruning import fill_ids
from storage.format.value_code import (
    FLOOR,
    LOGP_OF_CODE,
    PROB_OF_CODE,
    STEPS,
    encode_logp,
    encode_prob,
)
from storage.read.soft_labels import SoftLabels
from storage.write.prune import prune
from storage.write.top_k import KeptBlock

HALF_A_STEP = 0.5 + 1e-3  # of the code; the rest is float32
BOUND_NATS = 0.063  # the largest half step, at the floor


def labels_to_read(block: KeptBlock, about: StoreAbout) -> SoftLabels:
    """What a reader of all K ranks must return of a block that was written."""
    ids_TK, count_T, tail_TG = block.ids_TK.copy(), None, block.tail_TG
    logp_TK = LOGP_OF_CODE[encode_logp(block.logp_TK)]
    num_inside_T = np.full(len(ids_TK), about.kept)
    if about.pruning is not None:
        num_inside_T, is_absent_TK, tail_TG = prune(block, about, about.pruning)
        count_T = num_inside_T.astype(np.uint16)
        fill_ids(ids_TK, is_absent_TK)
        logp_TK[is_absent_TK] = FLOOR
    tail_T = PROB_OF_CODE[encode_prob(tail_TG[:, -1])]
    tail_T[num_inside_T == about.num_classes] = 0
    return SoftLabels(ids_TK=ids_TK, logp_TK=logp_TK, tail_T=tail_T, count_T=count_T)


def labels_digest(labels: SoftLabels) -> str:
    """SHA-256 of all values."""
    counts = () if labels.count_T is None else (labels.count_T,)
    return array_digest(labels.ids_TK, labels.logp_TK, labels.tail_T, *counts)


def largest_error(block: KeptBlock, labels: SoftLabels, *, where: str) -> float:
    """The largest difference of ln p, in nats, over all ranks and frames.

    Raises:
        StoreCorrupt: when a difference is beyond the value code's bound, or classes differ.
    """
    if not len(block.ids_TK):
        return 0.0
    is_here_TK = ~labels.is_absent_TK
    is_other_T = (is_here_TK & (block.ids_TK != labels.ids_TK)).any(axis=1)
    if is_other_T.any():
        frame = int(np.argmax(is_other_T))
        raise StoreCorrupt(f"{where}, frame {frame}: other classes than in the source")
    wanted_TK, found_TK = _above_floor(block.logp_TK), _above_floor(labels.logp_TK)
    is_beyond_TK = np.abs(_position(found_TK) - _position(wanted_TK)) > HALF_A_STEP
    beyond_TK = is_here_TK & is_beyond_TK
    if beyond_TK.any():
        frame, rank = map(int, np.argwhere(beyond_TK)[0])
        raise StoreCorrupt(
            f"{where}, frame {frame}, rank {rank + 1}: ln p {found_TK[frame, rank]:.4f}, the "
            f"source has {wanted_TK[frame, rank]:.4f}: more than the value code's bound"
        )
    return float(np.abs(found_TK - wanted_TK)[is_here_TK].max())


def _above_floor(logp_TK: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.clip(logp_TK.astype(np.float64), FLOOR, 0.0)


def _position(logp_TK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where on the scale of the codes, not rounded."""
    return np.asarray(STEPS * np.sqrt(logp_TK / FLOOR))
