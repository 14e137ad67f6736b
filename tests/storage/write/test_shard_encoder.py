"""The shard encoder writes the same bytes as zarr-python, from blocks of any size."""

import tracemalloc
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from storage.errors import StoreError
from storage.format.codec import CODINGS, FORMAT_1, Coding
from storage.format.pruning import Pruning
from storage.write.block_check import checked
from storage.write.shard_encoder import encode_shard
from storage.write.top_k import KeptBlock, cut_block, join_blocks
from tests.support.makers.codings import PRUNINGS, STORE_CODINGS
from tests.support.makers.store import make_about, make_block, quick_block
from tests.support.oracles.zarr import zarr_shard


@settings(max_examples=25, deadline=None)
@given(
    num_classes=st.sampled_from([1, 2, 23, 65_534, 65_535, 262_144]),
    kept=st.integers(1, 40),
    chunk_frames=st.integers(1, 300),
    chunks_per_shard=st.integers(1, 5),
    fullness=st.floats(0, 1),
    shard=st.integers(0, 2),
    temperatures=st.sampled_from([(), (2.0,)]),
    seed=st.integers(0, 1000),
    coding=st.sampled_from(list(STORE_CODINGS.values())),
    pruning=st.sampled_from(PRUNINGS),
)
@example(262_144, 256, 211, 2, 0.7, 1, (2.0, 0.5), 3, FORMAT_1, None)
@example(262_144, 256, 211, 2, 0.7, 1, (2.0, 0.5), 3, CODINGS["lz4"], PRUNINGS[1])
@example(3_000, 32, 2_049, 3, 1.0, 0, (), 4, FORMAT_1, None)  # several blosc blocks to a chunk
@example(3_000, 32, 2_049, 3, 1.0, 0, (), 4, CODINGS["lz4"], None)
def test_shard_bytes_are_those_of_zarr_python(
    num_classes: int,
    kept: int,
    chunk_frames: int,
    chunks_per_shard: int,
    fullness: float,
    shard: int,
    temperatures: tuple[float, ...],
    seed: int,
    coding: Coding,
    pruning: Pruning | None,
) -> None:
    about = make_about(
        coding=coding,
        pruning=None if coding == FORMAT_1 else pruning,
        num_classes=num_classes,
        kept=min(kept, num_classes),
        chunk_frames=chunk_frames,
        shard_frames=chunk_frames * chunks_per_shard,
        temperatures=temperatures,
    )
    num_frames = max(1, round(fullness * about.shard_frames))
    block = quick_block(about, num_frames, seed=seed)
    assert encode_shard(about, [block], shard=shard) == zarr_shard(about, block, shard=shard)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 60), max_size=8))
def test_shard_bytes_do_not_depend_on_block_sizes(cuts: list[int]) -> None:
    about = make_about(shard_frames=66, temperatures=(2.0,), pruning=PRUNINGS[1])
    block = make_block(about, 60, seed=1)
    bounds = [0, *sorted(cuts), 60]
    pieces = [cut_block(block, a, b) for a, b in pairwise(bounds)]
    assert encode_shard(about, pieces, shard=0) == encode_shard(about, [block], shard=0)
    np.testing.assert_array_equal(join_blocks(pieces).ids_TK, block.ids_TK)


def test_shard_without_frames_has_no_objects() -> None:
    about = make_about()
    assert encode_shard(about, [], shard=0) == {}
    assert encode_shard(about, [make_block(about, 0, seed=0)], shard=0) == {}


def test_long_shard_is_encoded_block_by_block() -> None:
    """Ten hours of audio: memory holds one block and the compressed chunks."""
    about = make_about(num_classes=3000, kept=8, shard_frames=1 << 18, chunk_frames=1024)
    block = quick_block(about, 1024, seed=5)
    raw_bytes = sum(
        array.nbytes for array in (block.ids_TK, block.logp_TK, block.tail_TG, block.log_norm_TH)
    )
    num_blocks = about.shard_frames // 1024

    def blocks() -> Iterator[KeptBlock]:
        for _ in range(num_blocks):
            yield block

    tracemalloc.start()
    objects = encode_shard(
        about,
        checked(about, blocks(), num_frames=about.shard_frames, where="shard 0"),
        shard=0,
    )
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    encoded_bytes = sum(map(len, objects.values()))
    assert peak_bytes < 2.2 * encoded_bytes + 8 * raw_bytes
    assert peak_bytes < 0.6 * num_blocks * raw_bytes


def test_blocks_that_miss_frames_are_refused() -> None:
    about = make_about()
    blocks = [make_block(about, 5, seed=0)] * 2
    with pytest.raises(StoreError, match=r"shard 3: the blocks have shape \(10, 7\) together"):
        list(checked(about, blocks, num_frames=11, where="shard 3"))
