"""The loader reads one store in every order, batch size and number of ranks; damage is named."""

import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.acoustic.models.settings import ArchitectureSettings
from stages.student import essence
from stages.student.essence import Essence
from stages.student.settings import StudentSettings
from stages.student.train import train_student
from stages.training.batches import Batch, cut_pieces, plan_batches, read_ahead, read_batch
from storage.corpus.corpus_file import CorpusFile
from storage.errors import StoreCorrupt
from storage.format.layout import StoreAbout, StoreUtterance
from storage.place.object_handles import ObjectHandles
from storage.read.reader import open_store
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import make_logp, tree_digest, utterances_of
from tests.support.makers.training import (
    NUM_CLASSES,
    RecordingProgress,
    make_about_of,
    make_corpus,
    make_corpus_directory,
    make_settings,
)

LENGTHS = (31, 0, 17, 44, 23, 1, 38, 29) * 12
KEPT = 4


def make_taught(directory: Path, lengths: tuple[int, ...] = LENGTHS) -> Path:
    """A corpus directory with train.zarr next to train.h5."""
    make_corpus_directory(directory)
    with CorpusFile(make_corpus(directory / "train.h5", lengths=lengths)) as corpus:
        about = make_about_of(corpus, kept=KEPT, shard_frames=462, chunk_frames=77)
        rows = utterances_of(corpus)
    fill(directory / "train.zarr", about, rows)
    return directory


def fill(path: Path, about: StoreAbout, rows: list[StoreUtterance]) -> None:
    writer = StoreWriter.create(path, about, utterances=rows)
    for shard in writer.missing_shards():
        num_frames = sum(rows[row].num_frames for row in writer.shard(shard))
        logp_TC = make_logp(num_frames, NUM_CLASSES, seed=shard)
        writer.write_shard(shard, keep_top_k(logp_TC, KEPT, tiers=about.tiers))
    writer.seal()


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus directory with a store; tests do not change it."""
    return make_taught(tmp_path_factory.mktemp("taught"))


def student(**training: object) -> StudentSettings:
    small = ArchitectureSettings(hidden=9, layers=1)
    return StudentSettings(k=3, architecture=small, training=make_settings(**training))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 99),
    batch_frames=st.integers(1, 700),
    chunk_frames=st.integers(5, 60),
    block_frames=st.sampled_from([0, 90, 500]),
    num_ranks=st.integers(1, 5),
)
def test_loader_reads_the_same_labels_for_any_seed_batch_size_order_and_number_of_ranks(
    taught: Path,
    seed: int,
    batch_frames: int,
    chunk_frames: int,
    block_frames: int,
    num_ranks: int,
) -> None:
    before = tree_digest(taught / "train.zarr")
    store = open_store(taught / "train.zarr", cache_bytes=3000)
    seen: Counter[tuple[str, int]] = Counter()
    with CorpusFile(taught / "train.h5") as corpus:
        pieces = cut_pieces([row.num_frames for row in corpus.utterances], chunk_frames)
        lengths = [piece.num_frames for piece in pieces]
        plan = plan_batches(lengths, batch_frames, seed, 0, block_frames=block_frames)
        objective = Essence(student(), store)
        for rank in range(num_ranks):
            for whole in plan:
                chosen = whole[rank::num_ranks]
                if not chosen:
                    continue
                batch = read_batch(corpus, [pieces[i] for i in chosen])
                ids_NK, codes_NK, tail_N = objective.read(batch)
                at = 0
                for id, piece in zip(batch.ids, batch.pieces, strict=True):
                    wanted = store.read_codes([id], k=3)
                    here = slice(at, at + piece.num_frames)
                    there = slice(piece.start, piece.start + piece.num_frames)
                    np.testing.assert_array_equal(ids_NK[here].numpy(), wanted.ids_TK[there])
                    np.testing.assert_array_equal(codes_NK[here].numpy(), wanted.codes_TK[there])
                    np.testing.assert_array_equal(tail_N[here].numpy(), wanted.tail_T[there])
                    seen.update((id, t) for t in range(there.start, there.stop))
                    at += piece.num_frames
                assert at == len(ids_NK)
        every = {(row.id, t) for row in corpus.utterances for t in range(row.num_frames)}
    assert seen.keys() == every
    assert set(seen.values()) == {1}
    assert tree_digest(taught / "train.zarr") == before


def train(taught: Path, directory: Path, **training: object) -> RecordingProgress:
    progress = RecordingProgress()
    directory.mkdir()
    train_student(
        student(**training),
        corpus_directory=taught,
        store=taught / "train.zarr",
        directory=directory,
        device="cpu",
        progress=progress,
    )
    return progress


def test_damage_found_by_the_reading_thread_is_raised_with_the_object(tmp_path: Path) -> None:
    taught = make_taught(tmp_path / "taught")
    damaged = sorted(taught.glob("train.zarr/ids_0/c/3*/*"))[0]
    content = bytearray(damaged.read_bytes())
    content[40] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(StoreCorrupt, match=r"ids_0/c/3/0, chunk \d"):
        train(taught, tmp_path / "student")
    assert not [thread for thread in threading.enumerate() if thread.name == "read-ahead"]


def test_block_frames_setting_changes_the_order(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    class Noting(Essence):
        def read(self, batch: Batch) -> tuple[object, ...]:  # type: ignore[override]
            asked.append(batch.ids)
            return super().read(batch)

    monkeypatch.setattr(essence, "Essence", Noting)
    monkeypatch.setattr("stages.student.train.Essence", Noting)
    train(taught, tmp_path / "a", epochs=1, block_frames=200)
    plan = plan_batches(LENGTHS, 61, 5, 0, block_frames=200)
    assert asked == [tuple(f"train-{i}" for i in batch) for batch in plan]


def test_epoch_in_blocks_reads_each_object_little_more_than_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache holds one buffer of the plan but not the whole store."""
    lengths = LENGTHS * 4
    taught = make_taught(tmp_path / "taught", lengths)
    monkeypatch.setattr("stages.training.batches.BUFFER_BATCHES", 4)
    counts = {
        block_frames: count_reads(taught, lengths, block_frames, monkeypatch)
        for block_frames in (0, 77)
    }
    once = 5 * -(-sum(lengths) // 77)  # ids and codes of two tiers, and a tail
    assert once < counts[77] < 2.5 * once  # where blocks and chunks overlap, twice
    assert counts[0] > 3 * once


def count_reads(
    taught: Path, lengths: tuple[int, ...], block_frames: int, monkeypatch: pytest.MonkeyPatch
) -> int:
    """Count the pieces of objects that are read in an epoch."""
    reads: list[str] = []
    read = ObjectHandles.read

    def noted(self: ObjectHandles, name: str, num_bytes: int, offset: int) -> bytes:
        reads.append(name)
        return read(self, name, num_bytes, offset)

    store = open_store(taught / "train.zarr", cache_bytes=12 * 77 * 13)  # twelve chunks
    objective = Essence(student(), store)
    plan = plan_batches(lengths, 61, 0, 0, block_frames=block_frames)
    with monkeypatch.context() as patched, CorpusFile(taught / "train.h5") as corpus:
        patched.setattr(ObjectHandles, "read", noted)
        piece_of = {piece.index: piece for piece in cut_pieces(lengths, 100)}
        batches = ([piece_of[i] for i in batch] for batch in plan)
        for _ in read_ahead(batches, lambda pieces: objective.read(read_batch(corpus, pieces))):
            pass
    return len(reads)
