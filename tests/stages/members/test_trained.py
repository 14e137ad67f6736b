"""Trained members: made from a corpus directory; their settings are checked."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.acoustic.models.model_file import load_model
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import BadInput
from stages.ensemble.settings import EnsembleSettings
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.training import (
    RecordingProgress,
    make_corpus,
    make_corpus_directory,
    make_settings,
)

SMALL = ArchitectureSettings(hidden=7, layers=1)


def test_trained_member_records_its_training_data(tmp_path: Path) -> None:
    corpus_directory = make_corpus_directory(tmp_path / "corpus")
    settings = TrainedMemberSettings(name="m", architecture=SMALL, training=make_settings(epochs=2))
    progress = RecordingProgress()
    (tmp_path / "member").mkdir()
    train_member(
        settings,
        corpus_directory=corpus_directory,
        directory=tmp_path / "member",
        device="cpu",
        progress=progress,
    )
    _, about = load_model(tmp_path / "member", "cpu")
    with CorpusFile(corpus_directory / "train.h5") as corpus:
        assert about.corpus_fingerprint == corpus.fingerprint
        assert about.class_inventory == corpus.about.class_inventory
    assert about.architecture == SMALL
    assert progress.done == progress.total


def test_train_split_without_hard_labels_is_refused(tmp_path: Path) -> None:
    make_corpus_directory(tmp_path)
    make_corpus(tmp_path / "train.h5", unlabelled_frames=99)
    with pytest.raises(BadInput, match=r"train\.h5 has no hard labels"):
        train_member(
            TrainedMemberSettings(name="m", architecture=SMALL),
            corpus_directory=tmp_path,
            directory=tmp_path,
            device="cpu",
            progress=RecordingProgress(),
        )


def test_default_members_differ_in_architecture_and_seed() -> None:
    members = EnsembleSettings().members
    assert len({member.architecture.kind for member in members}) == len(members) == 3
    assert len({member.training.seed for member in members}) == 3


def test_members_with_the_same_name_are_refused() -> None:
    member = TrainedMemberSettings(name="twin")
    with pytest.raises(ValidationError, match="two members are called 'twin'"):
        EnsembleSettings(members=(member, member))
    with pytest.raises(ValidationError):
        EnsembleSettings(members=())
