"""Null ranks: what a student learns from ranks 2 to k, with a part of their information removed.

Rank 1, all probabilities and the tail stay as they are stored. The classes of ranks 2 to k of a
frame are

    permuted   put in random order: which classes are likely stays, how likely each is does not
    redrawn    replaced by k - 1 distinct classes, drawn uniformly, in random order, from the C - 1
               classes that are not rank 1: nothing is left of them

A draw follows from the student's seed, the utterance's id and the first frame of the piece that is
read: it is the same in every epoch, after a resume, and on any number of processes. A frame of a
pruned store has fewer than k ranks: those after its last one stay as they are.

Shapes: T frames, B frames of a block, C classes, K kept ranks.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.format.pruning import is_absent

Ids = NDArray[np.unsignedinteger[Any]]
Counts = NDArray[np.uint16]
BLOCK_VALUES = 1 << 20  # random numbers in memory at once
NULL_RANKS = 3  # a stream of random numbers; see shares.py and step.py of training


def permuted_ranks(
    ids_TK: Ids, *, id: str, start: int, seed: int, count_T: Counts | None = None
) -> Ids:
    """Ids with ranks 2 to K in random order, of frames [start, start + T) of an utterance.

    `count_T` is how many ranks each frame has; None if all have K.
    """
    rng = _generator(id, start=start, seed=seed)
    permuted_TK = ids_TK.copy()
    if count_T is None:
        rng.permuted(ids_TK[:, 1:], axis=1, out=permuted_TK[:, 1:])
        return permuted_TK
    keys_TK = rng.random(ids_TK.shape, dtype=np.float32)
    keys_TK[:, 0] = -1.0
    keys_TK[is_absent(count_T, ids_TK.shape[1])] = 1.0  # above every other key
    return np.take_along_axis(ids_TK, np.argsort(keys_TK, axis=1, kind="stable"), axis=1)


def redrawn_ranks(ids_TK: Ids, *, num_classes: int, id: str, start: int, seed: int) -> Ids:
    """Ids with other classes in ranks 2 to K, of frames [start, start + T) of an utterance."""
    rng = _generator(id, start=start, seed=seed)
    drawn_TK, count = ids_TK.copy(), ids_TK.shape[1] - 1
    if not count:
        return drawn_TK
    step = max(1, BLOCK_VALUES // num_classes)
    for begin in range(0, len(ids_TK), step):
        block_BK = drawn_TK[begin : begin + step]
        block_BK[:, 1:] = _draw(rng, block_BK[:, :1], num_classes=num_classes, count=count)
    return drawn_TK


def _generator(id: str, *, start: int, seed: int) -> np.random.Generator:
    # A digest, not `hash`, which differs from process to process.
    name = int.from_bytes(hashlib.sha256(id.encode()).digest()[:8], "little")
    return np.random.default_rng([seed, NULL_RANKS, name, start])


def _draw(
    rng: np.random.Generator, first_B1: Ids, *, num_classes: int, count: int
) -> NDArray[np.int64]:
    """`count` classes a frame, none of them the first: those with the smallest random keys."""
    keys_BC = rng.random((len(first_B1), num_classes), dtype=np.float32)
    np.put_along_axis(keys_BC, first_B1.astype(np.int64), 2.0, axis=1)  # above every other key
    smallest_BK = np.argpartition(keys_BC, count - 1, axis=1)[:, :count]
    order_BK = np.argsort(np.take_along_axis(keys_BC, smallest_BK, axis=1), axis=1)
    return np.asarray(np.take_along_axis(smallest_BK, order_BK, axis=1))
