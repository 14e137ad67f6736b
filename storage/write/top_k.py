"""keep_top_k, keep_top_k_of_probabilities: the K best of every frame, with exact tail masses.

Shapes: T frames, C classes, K kept ranks, G tiers, H temperatures, R rows of a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.format.tiers import Tier

BLOCK_VALUES = 1 << 18  # classes times frames worked on at once: 1 MiB stays in the cache
ID_BITS = 32
SMALLEST_PROB = np.finfo(np.float32).tiny  # e^-87: keeps the logarithm finite


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptBlock:
    """What is kept of T frames. `tail_TG[:, g]` is the mass after tier g's last rank.

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

    A tail is the sum over the classes that are outside, in float64: never 1 - sum, which has no
    correct digit left if the tail is small.

    Raises:
        StoreError: if k is larger than C, or a value is NaN.
    """
    num_frames, num_classes = logp_TC.shape
    refuse_too_many(k, num_classes)
    kept = _empty_block(num_frames, k, num_tiers=len(tiers), num_temperatures=len(temperatures))
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


def keep_top_k_of_probabilities(
    prob_TC: NDArray[np.float32], k: int, *, tiers: Sequence[Tier]
) -> KeptBlock:
    """The same from probabilities, which are used up: no logarithm of all classes is needed.

    Ties are those of the probabilities. Tails are summed pairwise in float32: their relative error
    is below 1e-5, a step of their code is above 1e-2.

    Raises:
        StoreError: if k is larger than C, or a value is NaN.
    """
    num_frames, num_classes = prob_TC.shape
    refuse_too_many(k, num_classes)
    kept = _empty_block(num_frames, k, num_tiers=len(tiers), num_temperatures=0)
    step = max(1, BLOCK_VALUES // num_classes)
    for start in range(0, num_frames, step):
        rows = slice(start, start + step)
        prob_RC = prob_TC[rows]
        _refuse_nan(prob_RC, start)
        ids_RK, best_RK = _largest(prob_RC, k)
        np.put_along_axis(prob_RC, ids_RK.astype(np.intp), np.float32(0), axis=1)
        outside_R = prob_RC.sum(axis=1).astype(np.float64)
        kept.ids_TK[rows] = ids_RK
        kept.logp_TK[rows] = np.log(np.maximum(best_RK, SMALLEST_PROB))
        kept.tail_TG[rows] = tail_after_each(best_RK.astype(np.float64), outside_R, tiers)
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


def tail_after_each(
    prob_RK: NDArray[np.float64], outside_R: NDArray[np.float64], tiers: Sequence[Tier]
) -> NDArray[np.float64]:
    """The mass after each tier's last rank: what is outside, and the ranks between."""
    tail_RG = np.empty((len(prob_RK), len(tiers)))
    after_R = outside_R
    for index in reversed(range(len(tiers))):
        tail_RG[:, index] = after_R
        after_R = after_R + prob_RK[:, tiers[index].columns].sum(axis=1)
    return tail_RG


def refuse_too_many(k: int, num_classes: int) -> None:
    """Make sure that k of the classes can be kept.

    Raises:
        StoreError: if k is larger than C, or less than 1.
    """
    if not 1 <= k <= num_classes:
        raise StoreError(f"cannot keep {k} of {num_classes} classes: keep at most {num_classes}")


def _empty_block(num_frames: int, k: int, *, num_tiers: int, num_temperatures: int) -> KeptBlock:
    return KeptBlock(
        ids_TK=np.empty((num_frames, k), np.uint32),
        logp_TK=np.empty((num_frames, k), np.float32),
        tail_TG=np.empty((num_frames, num_tiers), np.float32),
        log_norm_TH=np.empty((num_frames, num_temperatures), np.float32),
    )


def _refuse_nan(values_RC: NDArray[np.float32], start: int) -> None:
    if np.isnan(values_RC.min()):
        frame = start + int(np.argmax(np.isnan(values_RC).any(axis=1)))
        raise StoreError(f"frame {frame}: a value is NaN")


def _largest(
    values_RC: NDArray[np.float32], k: int
) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The k largest of each row, largest first, ties by the smaller id, and their values."""
    num_rows, num_classes = values_RC.shape
    least_R1 = np.partition(values_RC, num_classes - k, axis=1)[:, num_classes - k, None]
    chosen_RC = values_RC >= least_R1
    if np.count_nonzero(chosen_RC) > num_rows * k:  # more than k, where some tie with the least
        tied_R = np.count_nonzero(chosen_RC, axis=1) > k
        chosen_RC[tied_R] = _chosen_with_ties(values_RC[tied_R], least_R1[tied_R], k)
    at_RK = np.flatnonzero(chosen_RC).reshape(num_rows, k)
    ids_RK = at_RK - np.arange(num_rows)[:, None] * num_classes
    best_RK = np.take_along_axis(values_RC, ids_RK, axis=1)
    # Sort keys hold (descending value, id): ties are settled, and no argsort is needed.
    bits_RK = (best_RK + np.float32(0.0)).view(np.uint32)  # + 0.0: -0.0 ties with 0.0
    order_RK = np.where(bits_RK >> 31 == 1, bits_RK, np.uint32(0x7FFFFFFF) - bits_RK)
    key_RK = order_RK.astype(np.uint64) << np.uint64(ID_BITS) | ids_RK.astype(np.uint64)
    key_RK.sort(axis=1)
    ids_RK = key_RK.astype(np.uint32)  # the low 32 bits
    return ids_RK, np.take_along_axis(values_RC, ids_RK.astype(np.intp), axis=1)


def _chosen_with_ties(
    values_RC: NDArray[np.float32], least_R1: NDArray[np.float32], k: int
) -> NDArray[np.bool_]:
    """All above the least one; of those that equal it the smaller ids, until there are k."""
    above_RC = values_RC > least_R1
    equal_RC = values_RC == least_R1
    room_R1 = k - np.count_nonzero(above_RC, axis=1)[:, None]
    taken_RC = above_RC | (equal_RC & (np.cumsum(equal_RC, axis=1) <= room_R1))
    return np.asarray(taken_RC)


def _tails(
    logp_RC: NDArray[np.float32], ids_RK: NDArray[np.uint32], tiers: Sequence[Tier]
) -> NDArray[np.float64]:
    prob_RC = np.exp(logp_RC.astype(np.float64))
    columns_RK = ids_RK.astype(np.intp)
    prob_RK = np.take_along_axis(prob_RC, columns_RK, axis=1)
    np.put_along_axis(prob_RC, columns_RK, 0.0, axis=1)
    return tail_after_each(prob_RK, prob_RC.sum(axis=1), tiers)
