"""Comparison of a store with its source: what a reader must return, within the value code's bound.

The bound is half a step of the code: at most 0.063 nats, at ln p = -16, and less for larger
probabilities. Smaller probabilities than e^-16 count as e^-16.

Shapes: T frames, K kept ranks.
"""

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreCorrupt
from storage.files.fingerprint import array_digest
from storage.format.value_code import (
    FLOOR,
    LOGP_OF_CODE,
    PROB_OF_CODE,
    STEPS,
    encode_logp,
    encode_prob,
)
from storage.read.soft_labels import SoftLabels
from storage.write.top_k import KeptBlock

HALF_A_STEP = 0.5 + 1e-3  # of the code; the rest is float32
BOUND_NATS = 0.063  # the largest half step, at the floor


def labels_to_read(block: KeptBlock, *, num_classes: int) -> SoftLabels:
    """What a reader of all K ranks must return of a block that was written."""
    kept = block.ids_TK.shape[1]
    tail_T = PROB_OF_CODE[encode_prob(block.tail_TG[:, -1])]
    return SoftLabels(
        ids_TK=block.ids_TK,
        logp_TK=LOGP_OF_CODE[encode_logp(block.logp_TK)],
        tail_T=tail_T if kept < num_classes else np.zeros_like(tail_T),
    )


def labels_digest(labels: SoftLabels) -> str:
    """SHA-256 of all values."""
    return array_digest(labels.ids_TK, labels.logp_TK, labels.tail_T)


def largest_error(block: KeptBlock, labels: SoftLabels, *, where: str) -> float:
    """The largest difference of ln p, in nats, over all ranks and frames.

    Raises:
        StoreCorrupt: when a difference is beyond the value code's bound, or classes differ.
    """
    if not len(block.ids_TK):
        return 0.0
    if not np.array_equal(block.ids_TK, labels.ids_TK):
        frame = int(np.argmax((block.ids_TK != labels.ids_TK).any(axis=1)))
        raise StoreCorrupt(f"{where}, frame {frame}: other classes than in the source")
    wanted_TK, found_TK = _above_floor(block.logp_TK), _above_floor(labels.logp_TK)
    beyond_TK = np.abs(_position(found_TK) - _position(wanted_TK)) > HALF_A_STEP
    if beyond_TK.any():
        frame, rank = map(int, np.argwhere(beyond_TK)[0])
        raise StoreCorrupt(
            f"{where}, frame {frame}, rank {rank + 1}: ln p {found_TK[frame, rank]:.4f}, the "
            f"source has {wanted_TK[frame, rank]:.4f}: more than the value code's bound"
        )
    return float(np.abs(found_TK - wanted_TK).max())


def _above_floor(logp_TK: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.clip(logp_TK.astype(np.float64), FLOOR, 0.0)


def _position(logp_TK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where on the scale of the codes, not rounded."""
    return np.asarray(STEPS * np.sqrt(logp_TK / FLOOR))
