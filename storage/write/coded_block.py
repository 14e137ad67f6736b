"""Coded block: a block of soft labels as plain bytes, 3 to 6 a rank: what a store makes of it.

    ids (T, K) | codes (T, K) u8 | tail codes (T, G) u8 | log norms (T, H) f32

Little-endian; ids have the store's dtype. The codes of what is decoded are the same codes again.

Shapes: T frames, K kept ranks, G tiers, H temperatures.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from storage.format.layout import StoreAbout
from storage.format.value_code import LOGP_OF_CODE, PROB_OF_CODE, encode_logp, encode_prob
from storage.write.top_k import KeptBlock


class Column(NamedTuple):
    """One of the arrays: its dtype, and values a frame."""

    dtype: np.dtype[np.generic]
    width: int


def columns_of(about: StoreAbout) -> tuple[Column, ...]:
    """The arrays of a block, in their order."""
    return (
        Column(np.dtype(about.ids_dtype).newbyteorder("<"), about.kept),
        Column(np.dtype("u1"), about.kept),
        Column(np.dtype("u1"), len(about.tiers)),
        Column(np.dtype("<f4"), len(about.temperatures)),
    )


def frame_bytes(columns: tuple[Column, ...]) -> int:
    """Bytes of a frame."""
    return sum(column.dtype.itemsize * column.width for column in columns)


def encode_block(columns: tuple[Column, ...], block: KeptBlock) -> bytes:
    """The bytes of a block."""
    values = (
        block.ids_TK,
        encode_logp(block.logp_TK),
        encode_prob(block.tail_TG),
        block.log_norm_TH,
    )
    pairs = zip(columns, values, strict=True)
    return b"".join(np.asarray(value, column.dtype).tobytes() for column, value in pairs)


def decode_block(
    columns: tuple[Column, ...],
    read: Callable[[int, int], bytes],
    *,
    num_frames: int,
    start: int,
    stop: int,
) -> KeptBlock:
    """Frames [start, stop) of a block of `num_frames`; `read(offset, size)` returns its bytes."""
    arrays, offset = [], 0
    for dtype, width in columns:
        row = dtype.itemsize * width
        content = read(offset + start * row, (stop - start) * row)
        arrays.append(np.frombuffer(content, dtype).reshape(stop - start, width))
        offset += num_frames * row
    ids_TK, codes_TK, tails_TG, log_norm_TH = arrays
    return KeptBlock(
        ids_TK=ids_TK.astype(np.uint32),
        logp_TK=LOGP_OF_CODE[codes_TK],
        tail_TG=PROB_OF_CODE[tails_TG],
        log_norm_TH=log_norm_TH.astype(np.float32),
    )
