"""training.equal_steps: lengths are epochs over all speech, whatever part a model reads."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.models.model_file import load_model, read_model_about
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from stages.student.settings import StudentSettings
from stages.student.train import train_student, train_student_trunk
from stages.training.settings import TrainingSettings
from storage.files.fingerprint import array_digest
from tests.support.makers.training import RecordingProgress, make_settings
from tests.support.makers.unlabelled import (
    LABELLED,
    UNLABELLED,
    make_knowing_store,
    make_partly_labelled,
)

SMALL = {"hidden": 13, "layers": 2, "dropout": 0.1}
ALL, PART = sum(LABELLED) + sum(UNLABELLED), sum(LABELLED)
TRUNK = {"schedule": "trunk", "trunk": {"warmup_epochs": 0.7}}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("corpus")
    truth = make_partly_labelled(directory)
    make_knowing_store(directory / "train.zarr", directory / "train.h5", truth)
    return directory


def trained(corpus: Path, directory: Path, *, hard_weight: float, **training: Any) -> list[str]:
    """The digests of a student's weights; its epochs are in metrics.jsonl."""
    settings = StudentSettings.model_validate(
        {
            "k": 2,
            "hard_weight": hard_weight,
            "architecture": SMALL,
            "training": make_settings(**training),
        }
    )
    inputs: dict[str, Any] = {
        "corpus_directory": corpus,
        "store": corpus / "train.zarr",
        "device": "cpu",
        "progress": RecordingProgress(),
    }
    trunk = None
    if settings.training.schedule == "trunk":
        trunk = directory.with_name(f"{directory.name}-trunk")
        trunk.mkdir()
        train_student_trunk(settings, directory=trunk, **inputs)
    directory.mkdir()
    train_student(settings, directory=directory, trunk=trunk, **inputs)
    model, _ = load_model(directory, "cpu")
    return [array_digest(value.numpy()) for value in model.state_dict().values()]


def num_epochs(directory: Path) -> int:
    return len((directory / "metrics.jsonl").read_text().splitlines())


@given(
    epochs=st.integers(1, 100),
    own_frames=st.integers(1, 10**7),
    others=st.integers(0, 10**7),
)
def test_own_epochs_take_the_same_steps_to_half_an_epoch(
    epochs: int, own_frames: int, others: int
) -> None:
    all_frames = own_frames + others
    settings = TrainingSettings(epochs=epochs, equal_steps=True, patience=1)
    own = settings.in_own_epochs(all_frames=all_frames, own_frames=own_frames)
    assert abs(own.epochs * own_frames - epochs * all_frames) <= own_frames / 2 + 1e-6 * all_frames
    assert own.patience == own.epochs
    plain = TrainingSettings(epochs=epochs)
    assert plain.in_own_epochs(all_frames=all_frames, own_frames=own_frames) == plain


@pytest.mark.parametrize("schedule", [{}, {"schedule": "plateau"}, TRUNK], ids=str)
def test_hard_labels_of_a_part_take_the_steps_of_soft_labels_of_all(
    corpus: Path, tmp_path: Path, schedule: dict[str, Any]
) -> None:
    epochs = 3
    own = round(epochs * ALL / PART)
    assert own > epochs
    equal = trained(
        corpus, tmp_path / "equal", hard_weight=1, epochs=epochs, equal_steps=True, **schedule
    )
    by_hand = {**schedule, "epochs": own, "patience": own}
    if schedule == TRUNK:
        by_hand["trunk"] = {"warmup_epochs": 0.7 * ALL / PART}
    assert equal == trained(corpus, tmp_path / "by hand", hard_weight=1, **by_hand)
    assert num_epochs(tmp_path / "equal") == own
    assert read_model_about(tmp_path / "equal").facts["training"]["epochs"] == own
    trained(corpus, tmp_path / "soft", hard_weight=0.3, epochs=epochs, equal_steps=True, **schedule)
    assert num_epochs(tmp_path / "soft") == epochs


def test_equal_steps_do_not_end_early(corpus: Path, tmp_path: Path) -> None:
    # At this rate nothing is learnt after the first epochs.
    training = {"epochs": 4, "patience": 1, "learning_rate": 1e-9}
    trained(corpus, tmp_path / "early", hard_weight=1, **training)
    assert num_epochs(tmp_path / "early") < 4
    trained(corpus, tmp_path / "whole", hard_weight=1, equal_steps=True, **training)
    assert num_epochs(tmp_path / "whole") == round(4 * ALL / PART)


def test_folds_of_a_member_each_take_the_steps_of_all_speech(corpus: Path, tmp_path: Path) -> None:
    settings = TrainedMemberSettings.model_validate(
        {
            "name": "m",
            "architecture": SMALL,
            "training": make_settings(epochs=2, equal_steps=True),
            "folds": 3,
        }
    )
    train_member(
        settings,
        corpus_directory=corpus,
        directory=tmp_path,
        device="cpu",
        progress=RecordingProgress(),
    )
    fold_of = json.loads((tmp_path / "folds.json").read_text())["fold_of"]
    for fold in range(3):
        speakers = [fold_of[f"speaker {number % 3}"] for number in range(len(LABELLED))]
        left_out = sum(n for n, of in zip(LABELLED, speakers, strict=True) if of == fold)
        facts = read_model_about(tmp_path / f"fold-{fold + 1}").facts
        assert facts["training"]["epochs"] == round(2 * ALL / (PART - left_out))


def test_identity_has_equal_steps_only_if_asked_for_and_then_no_patience() -> None:
    usual = StudentSettings().identity()["training"]
    assert "equal_steps" not in usual
    equal = StudentSettings.model_validate({"training": {"equal_steps": True}})
    other = StudentSettings.model_validate({"training": {"equal_steps": True, "patience": 9}})
    assert equal.identity()["training"]["equal_steps"] is True
    assert "patience" not in equal.identity()["training"]
    assert equal.identity() == other.identity()
    assert "equal_steps" in equal.trunk_identity()["training"]
