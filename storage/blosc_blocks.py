"""Blosc blocks: some rows of a blosc buffer without decompressing all of it.

    header      version | lz version | flags | item size | nbytes | blocksize | cbytes (uint32)
    starts      uint32 for each block: where its compressed bytes begin
    blocks      one after the other; each decompresses to `blocksize` bytes, the last to the rest

Blocks are independent: those that are wanted, behind a header and starts of their own, are a
blosc buffer again.
"""

import struct

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

HEADER = struct.Struct("<4B3I")
START_BYTES = 4
STORED = 0x2  # flag: the bytes follow the header as they are


def num_blocks(body: bytes, *, num_bytes: int) -> int:
    """How many blocks can be had one by one; 1 where the buffer must be looked at as a whole."""
    if len(body) < HEADER.size:
        return 1
    _, _, flags, _, declared, block_bytes, stored = HEADER.unpack_from(body)
    if flags & STORED or block_bytes == 0 or (declared, stored) != (num_bytes, len(body)):
        return 1
    return int(-(-num_bytes // block_bytes))


def take_blocks(body: bytes, start: int, stop: int) -> tuple[bytes, int, int]:
    """The blocks that hold the decompressed bytes [start, stop).

    Returns a blosc buffer, the size of what it decompresses to, and how many of those bytes come
    before `start`.

    Raises:
        ValueError: when the blocks do not follow each other.
    """
    *head, num_bytes, block_bytes, _ = HEADER.unpack_from(body)
    blocks = -(-num_bytes // block_bytes)
    if len(body) < HEADER.size + START_BYTES * blocks:
        raise ValueError("fewer bytes than blocks")
    # A short last block does not stand alone: blosc refuses a block size above the total.
    first = min(start // block_bytes, blocks - 2 if num_bytes % block_bytes else blocks - 1)
    count = (stop - 1) // block_bytes + 1 - first
    known = min(count + 1, blocks - first)  # the block after the last one says where that ends
    bounds = struct.unpack_from(f"<{known}I", body, HEADER.size + START_BYTES * first)
    if known == count:
        bounds = (*bounds, len(body))
    if list(bounds) != sorted(set(bounds)) or bounds[0] < HEADER.size + START_BYTES * blocks:
        raise ValueError("blocks that do not follow each other")
    shift = HEADER.size + START_BYTES * count - bounds[0]
    taken = min((first + count) * block_bytes, num_bytes) - first * block_bytes
    header = HEADER.pack(*head, taken, block_bytes, bounds[-1] + shift)
    starts = struct.pack(f"<{count}I", *(bound + shift for bound in bounds[:-1]))
    content = body[bounds[0] : bounds[-1]]
    return b"".join([header, starts, content]), taken, start - first * block_bytes


def decompress_part(body: bytes, start: int, stop: int) -> NDArray[np.uint8]:
    """The decompressed bytes [start, stop) of a buffer of several blocks.

    Raises:
        ValueError, RuntimeError: when it cannot be decompressed.
    """
    part, num_bytes, skip = take_blocks(body, start, stop)
    out = np.empty(num_bytes, np.uint8)
    blosc.decompress(part, out)
    return out[skip : skip + stop - start]
