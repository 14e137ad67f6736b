"""Batches: each frame once, in order; posteriors are the same whatever the batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.models import pieces as cutting
from stages.members import batches
from stages.members.batches import Batch, plan_batches, read_batch
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.utterance import Utterance
from tests.support.makers.posteriors import model_posteriors
from tests.support.makers.training import FEATURE_DIM, LENGTHS, NUM_CLASSES, make_corpus, make_model

PIECE, CONTEXT = 20, 7


def make_rows(lengths: list[int]) -> list[Utterance]:
    return [
        Utterance(
            id=f"u{n}", speaker="s", transcript="", digest="", first_frame=0, num_frames=length
        )
        for n, length in enumerate(lengths)
    ]


@given(st.lists(st.integers(0, 70), max_size=30), st.integers(1, 200), st.integers(0, 9))
def test_plan_has_each_frame_once_in_the_given_order(
    lengths: list[int], batch_frames: int, seed: int
) -> None:
    rows = make_rows(lengths)
    order = np.random.default_rng(seed).permutation(len(rows)).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "PIECE_FRAMES", PIECE)
        patch.setattr(cutting, "CONTEXT_FRAMES", CONTEXT)
        plan = list(plan_batches(rows, order, batch_frames=batch_frames))
    found = [(piece.index, t) for pieces in plan for piece in pieces for t in frames_of(piece)]
    assert found == [(index, t) for index in order for t in range(lengths[index])]
    for pieces in plan:
        assert len(pieces) == 1 or len(pieces) * max(map(read_length, pieces)) <= batch_frames
        for piece in pieces:
            assert piece.utterance is rows[piece.index]
            assert piece.num_frames <= PIECE
            assert piece.first == max(0, piece.start - CONTEXT) or piece.start == 0
            assert piece.last == min(piece.utterance.num_frames, piece.stop + CONTEXT)


def frames_of(piece: batches.Piece) -> range:
    return range(piece.start, piece.stop)


def read_length(piece: batches.Piece) -> int:
    return piece.last - piece.first


def test_plan_does_not_change_for_existing_stores() -> None:
    """Another plan would change the last bits of a store that is made again."""
    plan = plan_batches(make_rows([9, 0, 9, 0, 5, 9000, 0, 3, 31]), range(9), batch_frames=31)
    found = [[piece.index for piece in pieces] for pieces in plan]
    assert found == [[0, 2], [4], [5], [5], [7], [8]]


def make_batch(tmp_path: Path) -> tuple[CorpusFile, Batch]:
    corpus = CorpusFile(make_corpus(tmp_path / "test.h5"))
    (pieces,) = plan_batches(corpus.utterances, [3, 1, 2, 5], batch_frames=10**6)
    return corpus, read_batch(corpus, pieces, device="cpu", with_features=True)


def test_batch_holds_the_features_of_its_pieces(tmp_path: Path) -> None:
    corpus, batch = make_batch(tmp_path)
    assert batch.features_BTF.shape == (3, 44, FEATURE_DIM)
    assert batch.features_BTF.dtype == torch.float32
    assert batch.lengths_B.tolist() == [44, 17, 1]
    assert (batch.split, batch.corpus_fingerprint) == ("test", corpus.fingerprint)
    for row, piece in enumerate(batch.pieces):
        length = piece.num_frames
        features_TF = batch.features_BTF[row].numpy()
        np.testing.assert_array_equal(features_TF[:length], corpus.features(piece.index))
        assert not features_TF[length:].any()


def test_batch_only_equals_reading_these_pieces_alone(tmp_path: Path) -> None:
    corpus, batch = make_batch(tmp_path)
    for rows in ([0, 1, 2], [1, 2], [2]):
        part = batch.only(rows)
        alone = read_batch(corpus, part.pieces, device="cpu", with_features=True)
        assert [piece.index for piece in part.pieces] == [(3, 2, 5)[row] for row in rows]
        assert torch.equal(part.features_BTF, alone.features_BTF)
        assert part.features_BTF.stride() == alone.features_BTF.stride()
        assert torch.equal(part.lengths_B, alone.lengths_B)


def test_batch_without_features_has_lengths_only(tmp_path: Path) -> None:
    corpus, batch = make_batch(tmp_path)
    bare = read_batch(corpus, batch.pieces, device="cpu", with_features=False)
    assert bare.features_BTF.shape == (3, 44, 0)


@pytest.mark.parametrize("kind", ["tdnn", "gru", "conv"])
def test_posteriors_do_not_depend_on_the_batch(tmp_path: Path, kind: str) -> None:
    model = make_model(kind)
    with CorpusFile(make_corpus(tmp_path / "test.h5")) as corpus:
        order = [3, 1, 0, 7, 5, 2, 6, 4]
        alone = model_posteriors(model, corpus, order, batch_frames=1)
        together = model_posteriors(model, corpus, order, batch_frames=10**6)
    for index, logp_TC in together.items():
        assert logp_TC.shape == (LENGTHS[index], NUM_CLASSES)
        assert logp_TC.dtype == np.float32
        np.testing.assert_allclose(np.exp(logp_TC).sum(axis=1), 1.0, rtol=1e-6)
        np.testing.assert_allclose(logp_TC, alone[index], atol=2e-5)


def test_posteriors_of_pieces_equal_those_of_the_whole_utterance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("conv")  # two layers see 14 frames to either side
    with CorpusFile(make_corpus(tmp_path / "test.h5", lengths=(5, 97, 0, 6))) as corpus:
        whole = model_posteriors(model, corpus, batch_frames=10)
        monkeypatch.setattr(cutting, "PIECE_FRAMES", 20)
        monkeypatch.setattr(cutting, "CONTEXT_FRAMES", 14)
        pieces = model_posteriors(model, corpus, batch_frames=1000)
    for index, logp_TC in pieces.items():
        np.testing.assert_allclose(logp_TC, whole[index], atol=2e-5)
