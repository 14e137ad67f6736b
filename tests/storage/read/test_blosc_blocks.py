"""Decompressing part of a blosc buffer gives the same bytes as decompressing all of it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numcodecs import blosc

from storage.read.blosc_blocks import decompress_part, num_blocks

MAX_BYTES = 200_003


@settings(max_examples=60, deadline=None)
@given(
    num_bytes=st.integers(1, MAX_BYTES),
    typesize=st.sampled_from([1, 2, 4]),
    spread=st.sampled_from([1, 3, 40, 256]),
    cname=st.sampled_from([b"zstd", b"lz4"]),
    data=st.data(),
)
def test_blosc_part_matches_the_whole(
    num_bytes: int, typesize: int, spread: int, cname: bytes, data: st.DataObject
) -> None:
    rng = np.random.default_rng(num_bytes)
    whole = rng.integers(0, spread, size=num_bytes).astype(np.uint8)
    body = blosc.compress(whole, cname, 1, blosc.BITSHUFFLE, 0, typesize)
    start = data.draw(st.integers(0, num_bytes - 1))
    stop = data.draw(st.integers(start + 1, num_bytes))
    if num_blocks(body, num_bytes=num_bytes) > 1:
        np.testing.assert_array_equal(decompress_part(body, start, stop), whole[start:stop])


def test_blosc_parts_at_block_bounds_match_the_whole() -> None:
    whole = np.random.default_rng(5).integers(0, 40, size=MAX_BYTES).astype(np.uint8)
    body = blosc.compress(whole, b"zstd", 1, blosc.BITSHUFFLE, 0, 1)
    block_bytes = int.from_bytes(body[8:12], "little")
    assert MAX_BYTES % block_bytes
    for bound in [*range(0, MAX_BYTES, block_bytes), MAX_BYTES]:
        for start in (bound - 9, bound, bound + 5):
            for stop in (start + 1, start + 9, start + block_bytes, MAX_BYTES):
                if 0 <= start < stop <= MAX_BYTES:
                    part = decompress_part(body, start, stop)
                    np.testing.assert_array_equal(part, whole[start:stop])


def test_large_chunks_have_several_blocks() -> None:
    whole = np.arange(MAX_BYTES, dtype=np.uint32).view(np.uint8)[:MAX_BYTES] % 7
    body = blosc.compress(whole, b"zstd", 1, blosc.BITSHUFFLE, 0, 1)
    assert num_blocks(body, num_bytes=MAX_BYTES) > 4
    assert num_blocks(body, num_bytes=MAX_BYTES + 1) == 1
    assert num_blocks(body[:-1], num_bytes=MAX_BYTES) == 1
    assert num_blocks(b"", num_bytes=0) == 1
    stored = blosc.compress(np.random.default_rng(1).bytes(MAX_BYTES), b"zstd", 1, 0, 0, 1)
    assert num_blocks(stored, num_bytes=MAX_BYTES) == 1


def test_mutated_buffer_gives_an_error_or_bytes() -> None:
    rng = np.random.default_rng(3)
    whole = rng.integers(0, 9, size=MAX_BYTES).astype(np.uint8)
    sound = blosc.compress(whole, b"zstd", 1, blosc.BITSHUFFLE, 0, 1)
    for _ in range(400):
        body = bytearray(sound)
        for place in rng.integers(0, 60, size=2):
            body[place] = rng.integers(0, 256)
        if num_blocks(bytes(body), num_bytes=MAX_BYTES) > 1:
            try:
                assert len(decompress_part(bytes(body), 70_000, 70_100)) == 100
            except (ValueError, RuntimeError):
                continue


def test_short_last_block_alone_matches_the_whole() -> None:
    """lz4 splits full blocks into streams, and a short last block never."""
    whole = np.zeros(196_864, np.uint8)
    body = blosc.compress(whole, b"lz4", 1, blosc.BITSHUFFLE, 0, 2)
    assert num_blocks(body, num_bytes=len(whole)) > 1
    for start in (196_608, 196_700, 196_863):
        part = decompress_part(body, start, len(whole))
        np.testing.assert_array_equal(part, whole[start:])
