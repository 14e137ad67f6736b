"""training.utterances: originals, copies or all utterances of a train split with copies."""

from pathlib import Path

import pytest

from stages.contract.errors import BadInput
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from stages.training.corpus import open_training_corpus
from stages.training.settings import TrainingSettings
from tests.support.makers.copies import LENGTHS, make_copied_corpus
from tests.support.makers.training import (
    RecordingProgress,
    make_corpus,
    make_corpus_directory,
    make_settings,
)

FAST = sum(round(0.8 * length) for length in LENGTHS)


@pytest.mark.parametrize(
    ("utterances", "num_frames"),
    [
        ("all", 2 * sum(LENGTHS) + FAST),
        ("originals", sum(LENGTHS)),
        ("copies", sum(LENGTHS) + FAST),
    ],
)
def test_utterances_select_originals_or_copies(
    tmp_path: Path, utterances: str, num_frames: int
) -> None:
    directory = make_copied_corpus(tmp_path)
    settings = TrainingSettings.model_validate({"utterances": utterances})
    with open_training_corpus(
        directory, needs_labels=True, utterances=settings.utterances
    ) as corpus:
        assert corpus.num_frames == num_frames
        ids = {corpus.train.utterances[piece.index].id for piece in corpus.pieces(1000)}
    is_copy = {"all": {True, False}, "originals": {False}, "copies": {True}}[utterances]
    assert {"-" in id for id in ids} == is_copy


@pytest.mark.parametrize("utterances", ["originals", "copies"])
def test_equal_steps_are_those_over_the_selected_utterances(
    tmp_path: Path, utterances: str
) -> None:
    """All of the selection has hard labels: nothing is longer, however much is not selected."""
    directory = make_copied_corpus(tmp_path)
    training = make_settings(epochs=2, equal_steps=True, utterances=utterances)
    progress = RecordingProgress()
    train_member(
        TrainedMemberSettings(name="m", training=training),
        corpus_directory=directory,
        directory=tmp_path / "member",
        device="cpu",
        progress=progress,
    )
    selected = {"originals": sum(LENGTHS), "copies": sum(LENGTHS) + FAST}[utterances]
    assert progress.total == 2 * selected


@pytest.mark.parametrize("utterances", ["originals", "copies"])
def test_selection_in_a_corpus_without_copies_is_refused(tmp_path: Path, utterances: str) -> None:
    directory = make_corpus_directory(tmp_path)
    settings = TrainingSettings.model_validate({"utterances": utterances})
    with (
        pytest.raises(BadInput, match=rf"holds no copies, training.utterances is '{utterances}'"),
        open_training_corpus(directory, needs_labels=True, utterances=settings.utterances),
    ):
        pass


@pytest.mark.parametrize("utterances", ["all", "originals", "copies"])
def test_models_of_originals_are_chosen_on_the_originals_of_dev(
    tmp_path: Path, utterances: str
) -> None:
    directory = make_copied_corpus(tmp_path)
    settings = TrainingSettings.model_validate({"utterances": utterances})

    def dev_path() -> str:
        with open_training_corpus(
            directory, needs_labels=True, utterances=settings.utterances
        ) as corpus:
            return corpus.dev.path.name

    assert dev_path() == "dev.h5"  # no copy stands for the originals of dev
    make_corpus(directory / "dev-originals.h5", seed=3)
    assert dev_path() == ("dev-originals.h5" if utterances == "originals" else "dev.h5")
