"""keep_top_k: log-posteriors -> the K best of every frame, with exact tail masses.

Shapes: T frames, C classes, K kept ranks, G tiers, H temperatures, R rows of a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.tiers import Tier

BLOCK_VALUES = 1 << 20  # classes times frames worked on at once: 8 MiB of sort keys
ID_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBlock:
    """What one shard keeps. `tail_TG[:, g]` is the mass after tier g's last rank.

    `log_norm_TH` is ln sum_j p_j^(1/t) over all C classes for each of the store's temperatures.
    """

    ids_TK: NDArray[np.uint32]
    logp_TK: NDArray[np.float32]
    tail_TG: NDArray[np.float32]
    log_norm_TH: NDArray[np.float32]


def keep_top_k(
    logp_TC: NDArray[np.float32],
    k: int,
    *,
    tiers: Sequence[Tier],
    temperatures: Sequence[float] = (),
) -> KeptBlock:
    """Keep the k largest of every frame, best first, ties by the smaller id.

    A tail is the sum over the classes that are outside, in float64: never 1 - sum, which
    has no correct digit left where the tail is small.

    Raises:
        StoreError: when k is larger than C, or a value is NaN.
    """
    num_frames, num_classes = logp_TC.shape
    if not 1 <= k <= num_classes:
        raise StoreError(f"cannot keep {k} of {num_classes} classes: keep at most {num_classes}")
    kept = KeptBlock(
        ids_TK=np.empty((num_frames, k), np.uint32),
        logp_TK=np.empty((num_frames, k), np.float32),
        tail_TG=np.empty((num_frames, len(tiers)), np.float32),
        log_norm_TH=np.empty((num_frames, len(temperatures)), np.float32),
    )
    step = max(1, BLOCK_VALUES // num_classes)
    for start in range(0, num_frames, step):
        rows = slice(start, start + step)
        logp_RC = np.asarray(logp_TC[rows], dtype=np.float32)
        _refuse_nan(logp_RC, start)
        kept.ids_TK[rows], kept.logp_TK[rows] = _largest(logp_RC, k)
        kept.tail_TG[rows] = _tails(logp_RC, kept.ids_TK[rows], tiers)
        for column, temperature in enumerate(temperatures):
            kept.log_norm_TH[rows, column] = log_norm(logp_RC, temperature)
    return kept


def cut_block(block: KeptBlock, start: int, stop: int) -> KeptBlock:
    """Frames [start, stop) of a block; shares its memory."""
    rows = slice(start, stop)
    return KeptBlock(
        ids_TK=block.ids_TK[rows],
        logp_TK=block.logp_TK[rows],
        tail_TG=block.tail_TG[rows],
        log_norm_TH=block.log_norm_TH[rows],
    )


def join_blocks(blocks: Sequence[KeptBlock]) -> KeptBlock:
    """Blocks of frames, one after the other."""
    return KeptBlock(
        ids_TK=np.concatenate([block.ids_TK for block in blocks]),
        logp_TK=np.concatenate([block.logp_TK for block in blocks]),
        tail_TG=np.concatenate([block.tail_TG for block in blocks]),
        log_norm_TH=np.concatenate([block.log_norm_TH for block in blocks]),
    )


def log_norm(logp_TC: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """ln sum_j p_j^(1/temperature) of every frame, (T,)."""
    scaled_TC = logp_TC.astype(np.float64) / temperature
    best_T1 = scaled_TC.max(axis=1, keepdims=True)
    return np.asarray(best_T1[:, 0] + np.log(np.exp(scaled_TC - best_T1).sum(axis=1)))


def _refuse_nan(logp_RC: NDArray[np.float32], start: int) -> None:
    nan_R = np.isnan(logp_RC).any(axis=1)
    if nan_R.any():
        raise StoreError(f"frame {start + int(np.argmax(nan_R))}: a log-probability is NaN")


def _largest(
    logp_RC: NDArray[np.float32], k: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """Sort keys hold (descending value, id): ties are settled, and no argsort is needed."""
    bits_RC = (logp_RC + np.float32(0.0)).view(np.uint32)  # + 0.0: -0.0 ties with 0.0
    below_zero_RC = bits_RC >> 31 == 1
    order_RC = np.where(below_zero_RC, bits_RC, np.uint32(0x7FFFFFFF) - bits_RC)
    key_RC = order_RC.astype(np.uint64) << np.uint64(ID_BITS)
    key_RC |= np.arange(logp_RC.shape[1], dtype=np.uint64)
    if k < logp_RC.shape[1]:
        key_RC = np.partition(key_RC, k - 1, axis=1)[:, :k]
    ids_RK = np.sort(key_RC, axis=1).astype(np.uint32)  # the low 32 bits
    return ids_RK, np.take_along_axis(logp_RC, ids_RK.astype(np.intp), axis=1)


def _tails(
    logp_RC: NDArray[np.float32], ids_RK: NDArray[np.uint32], tiers: Sequence[Tier]
) -> NDArray[np.float64]:
    prob_RC = np.exp(logp_RC.astype(np.float64))
    columns_RK = ids_RK.astype(np.intp)
    prob_RK = np.take_along_axis(prob_RC, columns_RK, axis=1)
    np.put_along_axis(prob_RC, columns_RK, 0.0, axis=1)
    after_R = prob_RC.sum(axis=1)
    tail_RG = np.empty((len(ids_RK), len(tiers)))
    for index in reversed(range(len(tiers))):
        tail_RG[:, index] = after_R
        after_R = after_R + prob_RK[:, tiers[index].columns].sum(axis=1)
    return tail_RG
