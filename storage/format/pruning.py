"""Pruning: fewer than K ranks of a frame in which a few classes have nearly all probability.

In such a store each frame has a count n of 1 to K. Ranks after n are fill in `ids` and 0 in `val`;
the tails include their probability.

Shapes: T frames, K ranks, S frames with fewer than K ranks.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.format.value_code import STEPS, encode_logp

MOST_TABLED = 256  # ranks


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Which of the K ranks are not kept. The first one always is.

    `mass`: those after the ranks that have this probability together. `min_prob`: those of a
    smaller probability. None: no such bound; one of the two is given. With either of them, ranks
    with the last code are not kept: their probability is e^-16 or any smaller one.
    """

    mass: float | None = None
    min_prob: float | None = None

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.mass, self.min_prob) if bound is not None]
        if not bounds or not all(0 < bound < 1 for bound in bounds):
            raise StoreError(
                f"cannot keep ranks by mass {self.mass} and smallest probability {self.min_prob}: "
                "wanted one of them or both, between 0 and 1"
            )


def make_pruning(*, mass: float | None, min_prob: float | None) -> Pruning | None:
    """The pruning of these bounds; None if none is given.

    Raises:
        StoreError: when a bound is not between 0 and 1.
    """
    return None if mass is None and min_prob is None else Pruning(mass=mass, min_prob=min_prob)


def read_pruning(value: Any) -> Pruning | None:
    """Read the attribute.

    Raises:
        TypeError, StoreError: when it is no pruning.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or value.keys() != {"mass", "min_prob"}:
        raise TypeError("pruning")
    for bound in value.values():
        if bound is not None and (not isinstance(bound, (int, float)) or isinstance(bound, bool)):
            raise TypeError("pruning")
    return Pruning(**{name: b if b is None else float(b) for name, b in value.items()})


def count_ranks(logp_TK: NDArray[np.floating[Any]], pruning: Pruning) -> NDArray[np.intp]:
    """How many ranks of each frame are kept, (T,), at least 1."""
    with np.errstate(over="ignore"):
        prob_TK = np.exp(logp_TK.astype(np.float64))
    is_kept_TK = encode_logp(logp_TK) < STEPS
    if pruning.mass is not None:
        is_kept_TK &= np.cumsum(prob_TK, axis=1) - prob_TK < pruning.mass
    if pruning.min_prob is not None:
        is_kept_TK &= prob_TK >= pruning.min_prob
    is_kept_TK[:, 0] = True
    # Ranks descend and their sums ascend: what is kept comes first.
    return np.asarray(np.count_nonzero(np.logical_and.accumulate(is_kept_TK, axis=1), axis=1))


def is_absent(count_T: NDArray[Any], num_ranks: int) -> NDArray[np.bool_]:
    """(T, `num_ranks`): is this rank after the last one of its frame?"""
    if num_ranks > MOST_TABLED:
        return np.arange(num_ranks) >= count_T[:, np.newaxis]
    # Ten times as fast: numpy compares short rows one by one.
    table = _absent_by_count(num_ranks)
    return np.asarray(table.take(np.minimum(count_T, num_ranks), axis=0))


@cache
def _absent_by_count(num_ranks: int) -> NDArray[np.bool_]:
    return np.arange(num_ranks) >= np.arange(num_ranks + 1)[:, np.newaxis]


def fill_ids(ids_TK: NDArray[Any], is_absent_TK: NDArray[np.bool_]) -> None:
    """Give absent ranks, the last of a row, the smallest classes that the row does not have."""
    kept = ids_TK.shape[1]
    short_T = np.flatnonzero(is_absent_TK[:, -1])
    ids_SK, is_absent_SK = ids_TK[short_T], is_absent_TK[short_T]
    # Of the first K classes at least as many are free as ranks are absent.
    is_free_SK = np.ones((len(short_T), kept), bool)
    rows, columns = np.nonzero(~is_absent_SK & (ids_SK < kept))
    is_free_SK[rows, ids_SK[rows, columns]] = False
    wanted_S1 = np.count_nonzero(is_absent_SK, axis=1, keepdims=True)
    is_free_SK &= np.cumsum(is_free_SK, axis=1, dtype=np.uint16) <= wanted_S1
    ids_SK[is_absent_SK] = np.nonzero(is_free_SK)[1]  # both in the order of rows
    ids_TK[short_T] = ids_SK
