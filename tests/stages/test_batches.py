"""Batches: every frame once an epoch, little padding, an order that follows from the seed."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from makers_training import FEATURE_DIM, LENGTHS, make_corpus

from stages.speech.batches import Piece, cut_pieces, plan_batches, read_ahead, read_batch
from storage.corpus_file import NO_LABEL, CorpusFile

lengths_strategy = st.lists(st.integers(0, 50), max_size=40)


@given(lengths_strategy, st.integers(1, 90), st.integers(0, 5), st.integers(0, 5))
def test_every_utterance_with_frames_comes_once_and_batches_keep_their_size(
    lengths: list[int], batch_frames: int, seed: int, epoch: int
) -> None:
    plan = plan_batches(lengths, batch_frames, seed, epoch)
    assert sorted(i for batch in plan for i in batch) == [i for i, n in enumerate(lengths) if n]
    for batch in plan:
        assert batch
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= batch_frames
    assert plan == plan_batches(lengths, batch_frames, seed, epoch)


def test_the_order_follows_seed_and_epoch() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(20, 300, size=211)]
    plans = [plan_batches(lengths, 3001, seed, epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert all(plans[a] != plans[b] for a in range(4) for b in range(a))


def test_there_is_little_padding() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(20, 300, size=997)]
    plan = plan_batches(lengths, 3000, 0, 0)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in plan)
    assert padded / sum(lengths) < 1.07


@given(lengths_strategy, st.integers(1, 60))
def test_pieces_cover_every_frame_once_in_even_sizes(lengths: list[int], chunk: int) -> None:
    pieces = cut_pieces(lengths, chunk)
    covered = [(p.index, p.start + t) for p in pieces for t in range(p.num_frames)]
    assert covered == [(i, t) for i, n in enumerate(lengths) for t in range(n)]
    assert all(0 < piece.num_frames <= chunk for piece in pieces)
    for index in range(len(lengths)):
        sizes = [piece.num_frames for piece in pieces if piece.index == index]
        assert not sizes or max(sizes) - min(sizes) <= 1


def test_a_batch_holds_what_the_file_holds(tmp_path: Path) -> None:
    with CorpusFile(make_corpus(tmp_path / "train.h5")) as corpus:
        pieces = [
            Piece(index=3, start=11, num_frames=13),
            Piece(index=0, start=0, num_frames=LENGTHS[0]),
            Piece(index=5, start=0, num_frames=1),
        ]
        batch = read_batch(corpus, pieces)
        assert batch.ids == ("train-3", "train-0", "train-5")
        assert batch.features_BTF.shape == (3, LENGTHS[0], FEATURE_DIM)
        assert batch.num_frames == 13 + LENGTHS[0] + 1 == int(batch.live_BT.sum())
        for row, piece in enumerate(pieces):
            n, span = piece.num_frames, slice(piece.start, piece.start + piece.num_frames)
            features, labels = corpus.features(piece.index), corpus.labels(piece.index)
            np.testing.assert_array_equal(batch.features_BTF[row, :n].numpy(), features[span])
            np.testing.assert_array_equal(batch.labels_BT[row, :n].numpy(), labels[span])
            assert (batch.features_BTF[row, n:] == 0).all()
            assert (batch.labels_BT[row, n:] == NO_LABEL).all()


def test_reading_ahead_keeps_the_order_and_stays_a_few_ahead() -> None:
    begun: list[int] = []

    def read(number: int) -> int:
        begun.append(number)
        return number * number

    results = read_ahead(range(50), read)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    assert len(begun) <= 3 + 3
    results.close()
    assert len(begun) < 10
    assert not [thread for thread in threading.enumerate() if "read-ahead" in thread.name]
    assert list(read_ahead(range(5), read)) == [0, 1, 4, 9, 16]


def test_an_error_while_reading_ahead_reaches_the_caller() -> None:
    def read(number: int) -> int:
        if number == 4:
            raise OSError("the disk is gone")
        return number

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(_each(read_ahead(range(9), read), into=seen))
    assert seen == [0, 1, 2, 3]


def _each(results: Iterator[int], *, into: list[int]) -> list[int]:
    for result in results:
        into.append(result)  # noqa: PERF402
    return []
