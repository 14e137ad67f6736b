"""Blosc blocks: some rows of a blosc buffer without decompressing all of it.

    header      version | lz version | flags | item size | nbytes | blocksize | cbytes (uint32)
    starts      uint32 for each block: where its compressed bytes begin
    blocks      one after the other; each decompresses to `blocksize` bytes, the last to the rest

Blocks are independent: some of them, after a new header and new starts, are a blosc buffer again.
A random utterance needs a few blocks of a chunk, and decompression is most of its time.
"""

import struct

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from storage.format.shard_object import Buffer

HEADER = struct.Struct("<4B3I")
START_BYTES = 4
STORED = 0x2  # flag: the bytes follow the header as they are
NOT_SPLIT = 0x10  # flag: a block is one stream, not one for each byte of an item


def num_blocks(body: Buffer, *, num_bytes: int) -> int:
    """How many blocks can be decompressed one by one; 1 if only the whole buffer can."""
    # A damaged header answers 1 as well: decompressing the whole then raises the error.
    if len(body) < HEADER.size:
        return 1
    _, _, flags, _, declared, block_bytes, stored = HEADER.unpack_from(body)
    if flags & STORED or block_bytes == 0 or (declared, stored) != (num_bytes, len(body)):
        return 1
    return int(-(-num_bytes // block_bytes))


def take_blocks(body: Buffer, start: int, stop: int) -> tuple[bytes, int]:
    """The blocks that hold the decompressed bytes [start, stop).

    Returns a blosc buffer, and how many of the bytes in it come before `start`.

    Raises:
        ValueError: when the blocks do not follow each other.
    """
    *head, num_bytes, block_bytes, _ = HEADER.unpack_from(body)
    blocks = -(-num_bytes // block_bytes)
    if len(body) < HEADER.size + START_BYTES * blocks:
        raise ValueError("fewer bytes than blocks")
    first = start // block_bytes
    count = (stop - 1) // block_bytes + 1 - first
    # A block has a start and no end: it ends where the next one starts, or with the buffer.
    known = min(count + 1, blocks - first)
    bounds = struct.unpack_from(f"<{known}I", body, HEADER.size + START_BYTES * first)
    if known == count:
        bounds = (*bounds, len(body))
    # Blosc trusts the starts. With wrong ones it would read beyond what is copied below.
    if list(bounds) != sorted(set(bounds)) or bounds[0] < HEADER.size + START_BYTES * blocks:
        raise ValueError("blocks that do not follow each other")
    # The blocks move forward, to right after the fewer starts.
    shift = HEADER.size + START_BYTES * count - bounds[0]
    taken = min((first + count) * block_bytes, num_bytes) - first * block_bytes
    # Blosc refuses a block size above the total, as a short last block alone would have. Such a
    # block is one stream, which blosc would not expect of a block of full size.
    version, codec_version, flags, item = head
    if taken < block_bytes:
        flags |= NOT_SPLIT
    sizes = (taken, min(block_bytes, taken), bounds[-1] + shift)
    header = HEADER.pack(version, codec_version, flags, item, *sizes)
    starts = struct.pack(f"<{count}I", *(bound + shift for bound in bounds[:-1]))
    content = body[bounds[0] : bounds[-1]]
    return b"".join([header, starts, content]), start - first * block_bytes


def decompress_part(body: Buffer, start: int, stop: int) -> NDArray[np.uint8]:
    """The decompressed bytes [start, stop) of a buffer of several blocks.

    Raises:
        ValueError, RuntimeError: when it cannot be decompressed.
    """
    part, skip = take_blocks(body, start, stop)
    return np.frombuffer(blosc.decompress(part), np.uint8, stop - start, skip)
