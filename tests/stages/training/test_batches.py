"""Batches: every frame once per epoch, little padding, an order determined by the seed."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.training import batches
from stages.training.batches import Piece, cut_pieces, plan_batches, read_ahead, read_batch
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from tests.support.makers.training import FEATURE_DIM, LENGTHS, make_corpus

lengths_strategy = st.lists(st.integers(0, 50), max_size=40)


@given(
    lengths_strategy,
    st.integers(1, 90),
    st.integers(0, 5),
    st.integers(0, 5),
    st.sampled_from([0, 1, 70, 10_000]),
)
def test_plan_has_every_utterance_once_within_the_batch_size(
    lengths: list[int], batch_frames: int, seed: int, epoch: int, block_frames: int
) -> None:
    plan = plan_batches(lengths, batch_frames, seed, epoch, block_frames=block_frames)
    assert sorted(i for batch in plan for i in batch) == [i for i, n in enumerate(lengths) if n]
    for batch in plan:
        assert batch
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= batch_frames
    assert plan == plan_batches(lengths, batch_frames, seed, epoch, block_frames=block_frames)


@pytest.mark.parametrize("block_frames", [0, 5003])
def test_plan_order_depends_on_seed_and_epoch(block_frames: int) -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(20, 300, size=211)]
    plans = [
        plan_batches(lengths, 3001, seed, epoch, block_frames=block_frames)
        for seed in (0, 1)
        for epoch in (0, 1)
    ]
    assert all(plans[a] != plans[b] for a in range(4) for b in range(a))


@pytest.mark.parametrize("block_frames", [0, 5003])
def test_plan_pads_less_than_seven_percent(block_frames: int) -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(20, 300, size=997)]
    plan = plan_batches(lengths, 3000, 0, 0, block_frames=block_frames)
    padded = sum(max(lengths[i] for i in batch) * len(batch) for batch in plan)
    assert padded / sum(lengths) < 1.07


def test_neighbouring_utterances_stay_together_and_are_shuffled() -> None:
    lengths = [int(n) for n in np.random.default_rng(0).integers(20, 300, size=4999)]
    block_of = (np.cumsum(lengths) // 8000).tolist()
    plan = plan_batches(lengths, 1000, 0, 0, block_frames=8000)
    lowest = []
    for start in range(0, len(plan), 32):  # two buffers at most, of 4 to 6 blocks each
        touched = {block_of[i] for batch in plan[start : start + 32] for i in batch}
        assert len(touched) <= 24 < len(set(block_of)) / 4
        lowest.append(min(touched))
    assert lowest != sorted(lowest)
    alike = plan_batches([100] * 2000, 1000, 0, 0, block_frames=8000)
    neighbours = [abs(a - b) == 1 for batch in alike for a, b in pairwise(batch)]
    assert np.mean(neighbours) < 0.1


@given(lengths_strategy, st.integers(1, 60))
def test_pieces_cover_every_frame_once_in_even_sizes(lengths: list[int], chunk: int) -> None:
    pieces = cut_pieces(lengths, chunk)
    covered = [(p.index, p.start + t) for p in pieces for t in range(p.num_frames)]
    assert covered == [(i, t) for i, n in enumerate(lengths) for t in range(n)]
    assert all(0 < piece.num_frames <= chunk for piece in pieces)
    for index in range(len(lengths)):
        sizes = [piece.num_frames for piece in pieces if piece.index == index]
        assert not sizes or max(sizes) - min(sizes) <= 1


def test_batch_holds_the_features_and_labels_of_the_file(tmp_path: Path) -> None:
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


def test_read_ahead_keeps_the_order_and_is_bounded() -> None:
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


def test_read_ahead_raises_errors_in_the_caller() -> None:
    def read(number: int) -> int:
        if number == 4:
            raise OSError("the disk is gone")
        return number

    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(_each(read_ahead(range(9), read), into=seen))
    assert seen == [0, 1, 2, 3]


def test_read_ahead_raises_the_same_exception_object() -> None:
    gone = OSError("the disk is gone")

    def read(_: int) -> int:
        raise gone

    with pytest.raises(OSError, match="gone") as caught:
        next(read_ahead(range(9), read))
    assert caught.value is gone


def test_read_ahead_can_be_closed_while_the_disk_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "PATIENCE_SECONDS", 0.01)
    hangs, mended = threading.Event(), threading.Event()

    def read(number: int) -> int:
        if number == 2:
            hangs.set()
            mended.wait()
        return number

    results = read_ahead(range(9), read)
    assert next(results) == 0
    hangs.wait()
    results.close()  # what a Ctrl-C does
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "read-ahead"]
    assert thread.daemon  # nor the end of the program
    mended.set()
    thread.join(20)
    assert not thread.is_alive()


def _each(results: Iterator[int], *, into: list[int]) -> list[int]:
    for result in results:
        into.append(result)  # noqa: PERF402
    return []
