"""Extreme sizes: many classes, many ranks, utterances of no frames and of ten hours."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.format.shard_plan import fit_shard_frames
from storage.format.value_code import LOGP_OF_CODE, encode_logp
from storage.read.reader import open_store
from storage.write.top_k import KeptBlock, cut_block, keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import make_about, make_utterances, quick_block

TEN_HOURS = 10 * 3600 * 100  # frames of 10 ms
BLOCK = 65_536


@pytest.mark.parametrize("kept", [1, 200, 256])
def test_store_of_262144_classes_and_256_ranks_reads_back(tmp_path: Path, kept: int) -> None:
    lengths = [0, 150, 0, 0, 77, 0]
    about = make_about(num_classes=262_144, kept=kept, shard_frames=160, chunk_frames=80)
    block = quick_block(about, sum(lengths), seed=2)
    writer = StoreWriter.create(tmp_path / "a.zarr", about, utterances=make_utterances(lengths))
    writer.write_shard(0, cut_block(block, 0, 150))
    writer.write_shard(1, cut_block(block, 150, 227))
    writer.seal()
    store = open_store(tmp_path / "a.zarr")
    assert store.read_codes(range(9), k=1).ids_TK.dtype == np.uint32
    for k in {1, kept // 2 + 1, kept}:
        labels = store.read(range(227), k=k)
        np.testing.assert_array_equal(labels.ids_TK, block.ids_TK[:, :k])
        np.testing.assert_array_equal(
            labels.logp_TK, LOGP_OF_CODE[encode_logp(block.logp_TK[:, :k])]
        )
    for index in (0, 2, 3, 5):
        empty = store.read([store.utterances[index].id], k=kept)
        assert empty.ids_TK.shape == empty.logp_TK.shape == (0, kept)


def test_keep_top_k_finds_the_best_of_262144_classes() -> None:
    about = make_about(num_classes=262_144, kept=256)
    logp_TC = np.random.default_rng(1).normal(size=(3, 262_144)).astype(np.float32)
    kept = keep_top_k(logp_TC, 256, tiers=about.tiers)
    np.testing.assert_array_equal(kept.ids_TK, np.argsort(-logp_TC, axis=1)[:, :256])


def test_ten_hours_are_written_and_read_in_little_memory(tmp_path: Path) -> None:
    """RELIABILITY 15."""
    lengths = [0, TEN_HOURS, 0]
    about = make_about(
        num_classes=300,
        kept=4,
        chunk_frames=8192,
        shard_frames=fit_shard_frames(lengths, wanted=BLOCK, chunk_frames=8192),
    )
    block = quick_block(about, BLOCK, seed=4)

    def blocks() -> Iterator[KeptBlock]:
        for start in range(0, TEN_HOURS, BLOCK):
            yield cut_block(block, 0, min(BLOCK, TEN_HOURS - start))

    writer = StoreWriter.create(tmp_path / "a.zarr", about, utterances=make_utterances(lengths))
    tracemalloc.start()
    writer.write_blocks(0, blocks())
    writing_bytes = tracemalloc.get_traced_memory()[1]
    writer.seal()
    store = open_store(tmp_path / "a.zarr", cache_bytes=1 << 20)
    tracemalloc.reset_peak()
    before_bytes = tracemalloc.get_traced_memory()[0]
    frames = store.utterance_frames(store.utterances[1].id)
    for start in range(0, TEN_HOURS, BLOCK):
        part = store.read(frames[start : start + BLOCK], k=4)
        np.testing.assert_array_equal(part.ids_TK, block.ids_TK[: part.num_frames])
    reading_bytes = tracemalloc.get_traced_memory()[1] - before_bytes
    tracemalloc.stop()
    stored_bytes = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    block_bytes = BLOCK * 4 * 8
    assert stored_bytes > 20e6
    assert writing_bytes < 2 * stored_bytes + 12 * block_bytes
    assert reading_bytes < 4 * block_bytes + (4 << 20)
