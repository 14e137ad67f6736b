"""Rank join: rows of the tiers' arrays -> ids and codes of all ranks, side by side.

Numpy copies and sums along short rows slowly, so rows are moved as wholes, and eight one-byte
sums are one multiplication of a 64-bit word.

Shapes: T frames, R ranks of the opened tiers, W = R rounded up to whole words, B bytes of a row.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.tiers import Tier

WORD_BYTES = 8
ONES = np.uint64(0x0101010101010101)  # times a word: every byte becomes the sum up to it
LAST_BYTE = np.uint64(56)


class RankJoin:
    """Room for T frames of the first tiers; filled tier by tier, any rows first."""

    def __init__(self, tiers: Sequence[Tier], *, num_frames: int, ids_dtype: str) -> None:
        self.ids_TR: NDArray[np.unsignedinteger[Any]]
        ends = tuple(tier.last for tier in tiers)
        width = -(-ends[-1] // WORD_BYTES) * WORD_BYTES
        self.ids_TR = np.empty((num_frames, ends[-1]), np.dtype(ids_dtype).newbyteorder("<"))
        self._codes_TW = np.zeros((num_frames, width), np.uint8)
        self._num_ranks = ends[-1]
        self._ids = _records(self.ids_TR, ends)
        self._codes = _records(self._codes_TW, ends)

    def put_ids(self, tier: int, at: int, rows_RB: NDArray[np.uint8]) -> None:
        """Ids of one tier, little-endian bytes, for the frames from `at` on."""
        _copy(self._ids, tier, at, rows_RB)

    def put_differences(self, tier: int, at: int, rows_RB: NDArray[np.uint8]) -> None:
        """Code differences of one tier for the frames from `at` on."""
        _copy(self._codes, tier, at, rows_RB)

    def sum_codes(self) -> NDArray[np.uint8]:
        """Differences -> codes, (T, R), once. Sums above 255 show as codes that do not ascend."""
        words_TX = self._codes_TW.view("<u8")
        words_TX *= ONES
        for word in range(1, words_TX.shape[1]):
            words_TX[:, word] += (words_TX[:, word - 1] >> LAST_BYTE) * ONES
        return self._codes_TW[:, : self._num_ranks]

    def first_unordered(self) -> int | None:
        """The first frame whose summed codes do not ascend: its probabilities do not descend."""
        flat = self._codes_TW.reshape(-1)
        falls = flat[1:] < flat[:-1]
        width = self._codes_TW.shape[1]
        # A fall from one frame to the next is none: numpy compares long rows fastest.
        falls[width - 1 :: width] = False
        return int(np.argmax(falls)) // width if falls.any() else None


@cache
def _row_type(ends: tuple[int, ...], item_bytes: int, row_bytes: int) -> np.dtype[Any]:
    """A row as one field of plain bytes for each tier."""
    starts = (0, *ends[:-1])
    return np.dtype(
        {
            "names": [f"tier_{tier}" for tier in range(len(ends))],
            "formats": [f"V{(b - a) * item_bytes}" for a, b in zip(starts, ends, strict=True)],
            "offsets": [start * item_bytes for start in starts],
            "itemsize": row_bytes,
        }
    )


def _records(rows_TX: NDArray[Any], ends: tuple[int, ...]) -> NDArray[Any]:
    row_bytes = rows_TX.shape[1] * rows_TX.itemsize
    return rows_TX.view(_row_type(ends, rows_TX.itemsize, row_bytes))[:, 0]


def _copy(records: NDArray[Any], tier: int, at: int, rows_RB: NDArray[np.uint8]) -> None:
    field = records[f"tier_{tier}"]
    field[at : at + len(rows_RB)] = rows_RB.view(field.dtype)[:, 0]
