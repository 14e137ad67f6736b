"""dev store -> how the mass that k ranks keep is spread over the frames.

Shapes: T frames, K kept ranks.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.read.reader import open_store

PERCENTILES = (5, 25, 50, 75, 95)
BINS = 1000  # a step of 0.001


@dataclass(frozen=True, slots=True)
class KeptMass:
    """For each k, the mass that PERCENTILES of the frames do not exceed."""

    split: str
    by_rank: dict[int, tuple[float, ...]]


def read_kept_mass(store: Path) -> KeptMass | None:
    """Read all soft labels once; None where there are none."""
    labels = open_store(store)
    if not labels.num_frames:
        return None
    ranks = [k for k in range(1, labels.about.kept + 1) if _is_shown(k, labels.about.kept)]
    frames_by_mass = np.zeros((len(ranks), BINS + 1), np.int64)
    for row in labels.utterances:
        soft = labels.read_utterance(row.id, labels.about.kept)
        kept_TK = np.cumsum(np.exp(soft.logp_TK.astype(np.float64)), axis=1)
        total_T = kept_TK[:, -1] + soft.tail_T
        for number, k in enumerate(ranks):
            bins = np.minimum(kept_TK[:, k - 1] / total_T * BINS, BINS).astype(np.int64)
            frames_by_mass[number] += np.bincount(bins, minlength=BINS + 1)
    by_rank = {k: _percentiles(row) for k, row in zip(ranks, frames_by_mass, strict=True)}
    return KeptMass(labels.about.split, by_rank)


def _is_shown(k: int, kept: int) -> bool:
    """1, 2, 3, 4, 6, 8, 12, 16, ... and K: enough for a smooth line."""
    return k == kept or k & (k - 1) == 0 or (k % 3 == 0 and (k // 3) & (k // 3 - 1) == 0)


def _percentiles(frames: NDArray[np.int64]) -> tuple[float, ...]:
    below = np.cumsum(frames)
    wanted = [percent / 100 * below[-1] for percent in PERCENTILES]
    return tuple(int(np.searchsorted(below, count)) / BINS for count in wanted)
