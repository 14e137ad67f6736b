"""Folds: no model labels a speaker of its own training data."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stages.acoustic.models.model_file import load_model
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import BadInput, MissingPart
from stages.members.folded_member import FoldedMember, fold_directory
from stages.members.folds import plan_folds
from stages.members.kinds import open_member
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.utterance import Utterance
from tests.support.makers.posteriors import model_posteriors, posteriors_of
from tests.support.makers.training import RecordingProgress, make_corpus_directory, make_settings

SMALL = ArchitectureSettings(hidden=7, layers=1)
NUM_FOLDS = 3


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def member(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("member")
    train(corpus, directory)
    return directory


def train(corpus: Path, directory: Path, *, folds: int = NUM_FOLDS) -> RecordingProgress:
    progress = RecordingProgress()
    settings = TrainedMemberSettings(
        name="m", architecture=SMALL, training=make_settings(epochs=1), folds=folds
    )
    train_member(
        settings, corpus_directory=corpus, directory=directory, device="cpu", progress=progress
    )
    return progress


def alone(place: Path, corpus: CorpusFile, index: int) -> NDArray[np.float32]:
    model, _ = load_model(place, "cpu")
    return model_posteriors(model, corpus, [index])[index]


def make_rows(frames: list[int], num_speakers: int) -> list[Utterance]:
    return [
        Utterance(
            id=f"u{i}",
            speaker=f"s{i % num_speakers}",
            transcript="",
            first_frame=0,
            num_frames=count,
            digest="",
        )
        for i, count in enumerate(frames)
    ]


@given(st.lists(st.integers(0, 99), min_size=11, max_size=40), st.integers(2, 5))
def test_folds_partition_the_speakers_evenly(frames: list[int], n: int) -> None:
    rows = make_rows(frames, num_speakers=11)
    assume(len({row.speaker for row in rows if row.num_frames}) > 1)
    fold_of = plan_folds(rows, n, unlabelled=())
    assert fold_of.keys() == {row.speaker for row in rows}
    assert set(fold_of.values()) <= set(range(n))
    of_speaker: Counter[str] = Counter()
    of_fold: Counter[int] = Counter()
    for row in rows:
        of_speaker[row.speaker] += row.num_frames
        of_fold[fold_of[row.speaker]] += row.num_frames
    assert max(of_fold[i] for i in range(n)) - min(of_fold[i] for i in range(n)) <= max(
        of_speaker.values()
    )


def test_folds_do_not_depend_on_the_order_of_utterances() -> None:
    rows = make_rows([7, 31, 4, 15, 9, 26], num_speakers=6)
    assert plan_folds(rows, 3, unlabelled=()) == plan_folds(rows[::-1], 3, unlabelled=())


def test_folded_member_labels_a_training_utterance_with_its_held_out_model(
    corpus: Path, member: Path
) -> None:
    opened = open_member(member, device="cpu")
    assert isinstance(opened, FoldedMember)
    with CorpusFile(corpus / "train.h5") as train_split:
        indices = [i for i, row in enumerate(train_split.utterances) if row.num_frames]
        heard = posteriors_of(opened.load(), train_split, indices, batch_frames=70)
        folds = set()
        for index in indices:
            fold = opened.about.fold_of[train_split.utterances[index].speaker]
            folds.add(fold)
            wanted = alone(fold_directory(member, fold), train_split, index)
            np.testing.assert_allclose(heard[index], wanted, atol=1e-5)
            about = load_model(fold_directory(member, fold), "cpu")[1]
            assert about.facts["fold"] == fold + 1
    assert folds == set(range(NUM_FOLDS))


def test_fold_model_is_trained_on_the_other_folds(corpus: Path, tmp_path: Path) -> None:
    progress = train(corpus, tmp_path)
    opened = open_member(tmp_path, device="cpu")
    assert isinstance(opened, FoldedMember)
    of_fold: Counter[int] = Counter()
    with CorpusFile(corpus / "train.h5") as split:
        for row in split.utterances:
            of_fold[opened.about.fold_of[row.speaker]] += row.num_frames
        # The last task is the last fold's training.
        assert progress.total == split.num_frames - of_fold[NUM_FOLDS - 1]
    assert of_fold[NUM_FOLDS - 1] > 0


def test_trained_folds_are_not_trained_again(corpus: Path, member: Path) -> None:
    assert train(corpus, member).total == 0


def test_new_speakers_are_labelled_by_the_mean_of_all_models(
    corpus: Path, member: Path, tmp_path: Path
) -> None:
    opened = open_member(member, device="cpu")
    assert isinstance(opened, FoldedMember)
    strangers = opened.about.model_copy(update={"fold_of": {"nobody": 0}})
    opened = FoldedMember(about=strangers, models=opened.models)
    with CorpusFile(corpus / "dev.h5") as dev:
        found = posteriors_of(opened.load(), dev, [0])[0]
        said = [np.exp(alone(fold_directory(member, fold), dev, 0)) for fold in range(NUM_FOLDS)]
    np.testing.assert_allclose(np.exp(found), np.mean(said, axis=0), atol=1e-6)


def test_folded_member_counts_the_parameters_of_all_its_models(corpus: Path, member: Path) -> None:
    assert open_member(member, device="cpu").num_parameters == NUM_FOLDS * sum(
        value.numel() for value in load_model(fold_directory(member, 0), "cpu")[0].parameters()
    )


def test_swapped_or_missing_fold_model_is_refused(corpus: Path, tmp_path: Path) -> None:
    train(corpus, tmp_path, folds=2)
    (tmp_path / "fold-1").rename(tmp_path / "x")
    (tmp_path / "fold-2").rename(tmp_path / "fold-1")
    with pytest.raises(BadInput, match=r"fold-1: found model"):
        open_member(tmp_path, device="cpu")
    (tmp_path / "fold-1").rename(tmp_path / "y")
    with pytest.raises(MissingPart, match="no model has been trained"):
        open_member(tmp_path, device="cpu")


def test_folds_above_the_number_of_speakers_are_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="found 3 speakers for 4 folds"):
        train(corpus, tmp_path, folds=4)
