"""Shard object: the bytes of one Zarr v3 shard -> its inner chunks, checked before decoding.

    inner chunk 0 | inner chunk 1 | ... | index | crc32c of the index
    index         (offset, nbytes) of every inner chunk as uint64; all ones where there is none
    inner chunk   compressed rows | crc32c (4 bytes)

Declared sizes are compared with the expected ones before memory is allocated.

Shapes: J inner chunks of a shard.
"""

import struct
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import blosc, zstd
from numpy.typing import NDArray

from storage.errors import StoreCorrupt
from storage.format.codec import NO_CHECKSUM, SHUFFLES, Codec, CodecName

Buffer = bytes | memoryview

ABSENT = (1 << 64) - 1
CRC_BYTES = 4
ENTRY = struct.Struct("<2Q")  # of the index: offset, bytes
BLOSC_HEADER_BYTES = 16
ZSTD_MAGIC = 0xFD2FB528
COPY_AGAIN = "take it from another copy of the store"


def index_bytes(num_chunks: int) -> int:
    """Bytes of the index at the end of a shard, with its checksum."""
    return ENTRY.size * num_chunks + CRC_BYTES


def most_compressed(num_bytes: int) -> int:
    """Upper bound of what the compressors make of `num_bytes`, with checksum."""
    return num_bytes + num_bytes // 128 + 1024


def read_index(
    raw: bytes, *, object_bytes: int, where: str, cure: str = COPY_AGAIN
) -> NDArray[np.uint64]:
    """(J, 2) offsets and sizes from the last bytes of a shard object.

    Raises:
        StoreCorrupt: when the checksum is wrong or a chunk lies outside of the object.
    """
    body = check_crc(raw, where=f"{where}, index", cure=cure)
    if len(body) % ENTRY.size:
        raise StoreCorrupt(f"{where}: the object is too small for its index")
    entries_J2 = np.frombuffer(body, dtype="<u8").reshape(-1, 2)
    held_J2 = entries_J2[entries_J2[:, 0] != ABSENT]
    room = np.uint64(object_bytes - len(raw))
    if (held_J2 > room).any() or (held_J2.sum(axis=1) > room).any():
        raise StoreCorrupt(f"{where}: a chunk lies outside of the object")
    return entries_J2


def chunk_checksums(shard: bytes, num_chunks: int) -> list[int | None]:
    """The crc32c of every inner chunk, None where there is none: goes into the manifest."""
    entries_J2 = read_index(
        shard[-index_bytes(num_chunks) :], object_bytes=len(shard), where="encoded shard"
    )
    ends = [None if offset == ABSENT else int(offset + size) for offset, size in entries_J2]
    return [
        None if end is None else int.from_bytes(shard[end - CRC_BYTES : end], "little")
        for end in ends
    ]


def check_crc(raw: bytes, *, where: str, cure: str = COPY_AGAIN) -> bytes:
    """The bytes before the trailing crc32c. `cure` is what an error tells the user to do.

    Raises:
        StoreCorrupt: when it does not fit them.
    """
    body, tail = raw[:-CRC_BYTES], raw[-CRC_BYTES:]
    found, wanted = google_crc32c.value(body), int.from_bytes(tail, "little")
    if len(raw) <= CRC_BYTES or found != wanted:
        raise StoreCorrupt(f"{where}: crc32c is {found:08x}, expected {wanted:08x}: {cure}")
    return body


def compress(codec: Codec, flat: NDArray[Any], *, item_bytes: int) -> bytes:
    """The compressed bytes of a chunk; blosc shuffles values of `item_bytes`."""
    if codec.name == "zstd":
        return bytes(zstd.compress(flat, codec.level, NO_CHECKSUM))
    return bytes(
        blosc.compress(
            flat,
            codec.compressor.encode(),
            codec.level,
            SHUFFLES[codec.shuffle],
            codec.block_bytes,
            item_bytes,
        )
    )


def decompress(body: Buffer, codec: CodecName, *, num_bytes: int, where: str) -> NDArray[np.uint8]:
    """`num_bytes` decompressed bytes.

    Raises:
        StoreCorrupt: when the bytes declare another size, or are no such stream.
    """
    declared = _zstd_size(body) if codec == "zstd" else _blosc_size(body)
    if declared != num_bytes:
        raise StoreCorrupt(f"{where}: declares {declared} bytes, wanted {num_bytes}")
    try:
        content = (zstd if codec == "zstd" else blosc).decompress(body)
    except (RuntimeError, ValueError) as cause:
        raise StoreCorrupt(f"{where}: cannot be decompressed ({cause})") from cause
    return np.frombuffer(content, np.uint8)


def _blosc_size(body: Buffer) -> int | None:
    if len(body) < BLOSC_HEADER_BYTES:
        return None
    num_bytes, _, compressed = struct.unpack_from("<3I", body, 4)
    return int(num_bytes) if compressed == len(body) else None


def _zstd_size(body: Buffer) -> int | None:
    """Frame_Content_Size of RFC 8878, 3.1.1.1; None if the frame has none."""
    header = bytes(body[:18]).ljust(18, b"\0")
    if int.from_bytes(header[:4], "little") != ZSTD_MAGIC:
        return None
    descriptor = header[4]
    single_segment = descriptor >> 5 & 1
    start = 5 + (1 - single_segment) + (0, 1, 2, 4)[descriptor & 3]
    size = (single_segment, 2, 4, 8)[descriptor >> 6]
    value = int.from_bytes(header[start : start + size], "little")
    return None if size == 0 else value + (256 if size == 2 else 0)
