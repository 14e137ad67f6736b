"""Rank join: rows of the tiers' arrays -> ids and codes of all ranks in one row per frame.

    differences of a row    d0 d1 d2 d3 d4 d5 d6 d7         eight bytes, one 64-bit word
    times 0x0101010101010101
    codes of the row        d0 d0+d1 d0+d1+d2 ...           the running sum, byte by byte

Numpy is slow along rows of a few bytes. So each tier's part of a row is copied as one opaque field,
and eight running sums are one multiplication of a word.

Shapes: T frames, R ranks of the opened tiers, W = R rounded up to whole words of 1, 2, 4 or 8
bytes.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.format.tiers import Tier

WORDS: dict[int, np.dtype[Any]] = {size: np.dtype(f"<u{size}") for size in (1, 2, 4, 8)}
ONES = 0x0101010101010101  # times a word: every byte becomes the sum up to it


class RankJoin:
    """Buffers for the first tiers of up to `max_frames` frames, filled tier by tier.

    They are used for one batch after the other: results are views, valid until the next `begin`.
    """

    def __init__(self, tiers: Sequence[Tier], *, max_frames: int, ids_dtype: str) -> None:
        ends = tuple(tier.last for tier in tiers)
        # The smallest word that holds the row, or several of the largest: padding costs time too.
        self._word = next((WORDS[n] for n in WORDS if n >= ends[-1]), WORDS[8])
        width = -(-ends[-1] // self._word.itemsize) * self._word.itemsize
        self._num_ranks = ends[-1]
        self._room_ids: NDArray[np.unsignedinteger[Any]]
        self._room_ids = np.empty((max_frames, ends[-1]), np.dtype(ids_dtype).newbyteorder("<"))
        self._room_codes = np.empty((max_frames, width), np.uint8)
        self._ids = _fields(self._room_ids, ends)
        self._codes = _fields(self._room_codes, ends)
        self.begin(max_frames)

    def begin(self, num_frames: int) -> None:
        """Start a batch of T frames."""
        self.ids_TR = self._room_ids[:num_frames]
        self._codes_TW = self._room_codes[:num_frames]
        # The last batch left its sums in the padding. With zeros there, the padding repeats the
        # last rank's code, and counts as in order.
        self._codes_TW[:, self._num_ranks :] = 0

    def put_ids(self, tier: int, at: int, rows: NDArray[np.uint8]) -> None:
        """Ids of one tier, little-endian bytes, for the frames from `at` on."""
        _copy(self._ids[tier], at, rows)

    def put_differences(self, tier: int, at: int, rows: NDArray[np.uint8]) -> None:
        """Code differences of one tier for the frames from `at` on."""
        _copy(self._codes[tier], at, rows)

    def sum_codes(self) -> NDArray[np.uint8]:
        """Differences -> codes, (T, R), in place: call it once a batch.

        Sound codes are at most 255. A sum above wraps to less than the code before it, and so is
        found by `first_unordered`; bytes below the carry are not touched by it.
        """
        bits = 8 * self._word.itemsize
        ones, last_byte = (self._word.type(n) for n in (ONES % (1 << bits), bits - 8))
        words_TX = self._codes_TW.view(self._word)
        words_TX *= ones
        for word in range(1, words_TX.shape[1]):
            # A further word starts from the last sum of the word before, in each of its bytes.
            words_TX[:, word] += (words_TX[:, word - 1] >> last_byte) * ones
        return self._codes_TW[:, : self._num_ranks]

    def first_unordered(self) -> int | None:
        """The first frame whose codes do not ascend, if any: its probabilities do not descend."""
        width = self._codes_TW.shape[1]
        if width == 1:
            return None
        flat = self._codes_TW.reshape(-1)
        falls = flat[1:] < flat[:-1]
        # Compared as one long row, which numpy does fastest. The step from a frame's last code to
        # the next frame's first one is no fall.
        falls[width - 1 :: width] = False
        return int(np.argmax(falls)) // width if falls.any() else None


@cache
def _row_type(ends: tuple[int, ...], item_bytes: int, row_bytes: int) -> np.dtype[Any]:
    """dtype of a row: one field of plain bytes for each tier."""
    starts = (0, *ends[:-1])
    return np.dtype(
        {
            "names": [f"tier_{tier}" for tier in range(len(ends))],
            "formats": [f"V{(b - a) * item_bytes}" for a, b in zip(starts, ends, strict=True)],
            "offsets": [start * item_bytes for start in starts],
            "itemsize": row_bytes,
        }
    )


def _fields(rows_TX: NDArray[Any], ends: tuple[int, ...]) -> list[NDArray[Any]]:
    """For each tier, a view of its part of every row."""
    row_bytes = rows_TX.shape[1] * rows_TX.itemsize
    records = rows_TX.view(_row_type(ends, rows_TX.itemsize, row_bytes))[:, 0]
    return [records[name] for name in records.dtype.names or ()]


def _copy(field: NDArray[Any], at: int, rows: NDArray[np.uint8]) -> None:
    # With the field's own dtype, numpy copies each row as one item of several bytes.
    values = rows.view(field.dtype)
    field[at : at + len(values)] = values
