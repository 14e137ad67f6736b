"""Frames of a source -> the K best of every frame, by the rules that docs/exchange.md states.

Shapes: T frames, K kept ranks, P pairs of all frames, R rows of a block, M pairs of its longest
row, G tiers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.exchange.frames import BLOCK_VALUES, DenseFrames, Frames, SparseFrames
from storage.format.layout import StoreAbout
from storage.format.pruning import fill_ids
from storage.format.tiers import Tier
from storage.write.top_k import KeptBlock, join_blocks, keep_top_k, tail_after_each

ABSENT = -1  # no class, and less than any probability


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What is kept, and what not: sums over the frames."""

    block: KeptBlock
    dropped_mass: float  # of classes beyond rank K, which are part of the tail
    filled_frames: int  # with fewer than K pairs


def keep_frames(frames: Frames, about: StoreAbout, *, normalise: bool) -> Kept:
    """Keep `about.kept` ranks of frames that were checked."""
    if normalise:
        frames = frames.normalised()
    if isinstance(frames, DenseFrames):
        logp_TC = frames.logp_TC if frames.num_frames else np.zeros((0, about.num_classes), "f4")
        block = keep_top_k(logp_TC, about.kept, tiers=about.tiers)
        dropped = float(block.tail_TG[:, -1].sum(dtype=np.float64))
        return Kept(block=block, dropped_mass=dropped, filled_frames=0)
    return _keep_sparse(frames, about)


def _keep_sparse(frames: SparseFrames, about: StoreAbout) -> Kept:
    kept, tiers = about.kept, about.tiers
    step = max(1, BLOCK_VALUES // (8 * max(frames.most_pairs, 2 * kept)))
    ends_T = np.concatenate([[0], np.cumsum(frames.count_T)])
    blocks, dropped = [_no_frames(kept, tiers)], 0.0
    for start in range(0, frames.num_frames, step):
        count_R = frames.count_T[start : start + step]
        pairs = slice(ends_T[start], ends_T[start + len(count_R)])
        ids_RK, prob_RK, beyond_R = _largest(frames, pairs, count_R, kept)
        fill_ids(ids_RK, ids_RK == ABSENT)
        dropped += float(beyond_R.sum())
        outside_R = np.maximum(0.0, 1.0 - prob_RK.sum(axis=1) - beyond_R) + beyond_R
        with np.errstate(divide="ignore"):
            logp_RK = np.log(prob_RK).astype(np.float32)
        tail_RG = tail_after_each(prob_RK, outside_R, tiers)
        blocks.append(
            KeptBlock(
                ids_TK=ids_RK.astype(np.uint32),
                logp_TK=logp_RK,
                tail_TG=np.minimum(tail_RG, 1.0).astype(np.float32),
                log_norm_TH=np.empty((len(ids_RK), 0), np.float32),
            )
        )
    filled = int(np.count_nonzero(frames.count_T < kept))
    return Kept(block=join_blocks(blocks), dropped_mass=dropped, filled_frames=filled)


def _largest(
    frames: SparseFrames, pairs: slice, count_R: NDArray[np.int64], kept: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """The K largest pairs of each row, equal ones in the order given; the mass of the others.

    Missing ranks have the id ABSENT and probability 0.
    """
    num_rows, width = len(count_R), max(kept, int(count_R.max(initial=0)))
    ids_RM = np.full((num_rows, width), ABSENT, np.int64)
    prob_RM = np.full((num_rows, width), float(ABSENT))
    row_P = np.repeat(np.arange(num_rows), count_R)
    column_P = np.arange(len(row_P)) - np.repeat(np.cumsum(count_R) - count_R, count_R)
    ids_RM[row_P, column_P] = frames.ids_P[pairs]
    prob_RM[row_P, column_P] = frames.prob_P[pairs]
    order_RM = np.argsort(-prob_RM, axis=1, kind="stable")
    ids_RM = np.take_along_axis(ids_RM, order_RM, axis=1)
    prob_RM = np.maximum(np.take_along_axis(prob_RM, order_RM, axis=1), 0.0)
    return ids_RM[:, :kept], prob_RM[:, :kept], prob_RM[:, kept:].sum(axis=1)


def _no_frames(kept: int, tiers: Sequence[Tier]) -> KeptBlock:
    return KeptBlock(
        ids_TK=np.empty((0, kept), np.uint32),
        logp_TK=np.empty((0, kept), np.float32),
        tail_TG=np.empty((0, len(tiers)), np.float32),
        log_norm_TH=np.empty((0, 0), np.float32),
    )
