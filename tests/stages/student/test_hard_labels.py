"""Hard labels that a student chooses: the corpus's, the ensemble's, for either kind of speech."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.acoustic.models.model_file import read_model_about
from stages.contract.ensemble_labels import (
    EnsembleLabels,
    LabelledUtterance,
    LabelsAbout,
    write_labels,
)
from stages.contract.errors import BadInput, MissingPart
from stages.student.hard_labels import choose_labels
from stages.student.settings import LabelSettings, StudentSettings
from stages.student.train import train_student
from stages.training.corpus import open_training_corpus
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from storage.files.fingerprint import array_digest
from tests.support.makers.training import (
    NUM_CLASSES,
    RecordingProgress,
    make_corpus_directory,
    make_settings,
)
from tests.support.makers.unlabelled import make_knowing_store, make_partly_labelled

REALIGNED, DECODED = {"transcribed": "realigned"}, {"untranscribed": "decoded"}
BOTH = REALIGNED | DECODED
LOST = "said-2"  # an utterance without a path


def make_labels(directory: Path, corpus_path: Path, *, lost: str = LOST) -> Path:
    """Labels of every utterance: the class after that of its frame number, modulo C."""
    directory.mkdir()
    with CorpusFile(corpus_path) as corpus:
        classes_T = (np.arange(corpus.num_frames, dtype=np.int32) + 1) % NUM_CLASSES
        rows = []
        for row in corpus.utterances:
            here = slice(row.first_frame, row.first_frame + row.num_frames)
            if row.id == lost:
                classes_T[here] = NO_LABEL
            made = "none" if row.id == lost or not row.num_frames else "aligned"
            digest = array_digest(classes_T[here])
            rows.append(LabelledUtterance(id=row.id, made=made, digest=digest))
        about = LabelsAbout(
            corpus_fingerprint=corpus.fingerprint,
            members=("m",),
            acoustic_scale=0.1,
            insertion_penalty=0.0,
            utterances=tuple(rows),
        )
    write_labels(directory, about, classes_T)
    return directory


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """corpus with transcribed `said-*` and untranscribed `mute-*`, a store, labels."""
    directory = tmp_path_factory.mktemp("house")
    truth = make_partly_labelled(directory)
    make_knowing_store(directory / "train.zarr", directory / "train.h5", truth)
    make_labels(directory / "labels", directory / "train.h5")
    return directory


@pytest.mark.parametrize("settings", [{}, REALIGNED, DECODED, BOTH], ids=str)
def test_labels_are_those_that_the_settings_choose(house: Path, settings: dict[str, str]) -> None:
    with CorpusFile(house / "train.h5") as corpus:
        ensemble = EnsembleLabels.open(house / "labels", corpus)
        chosen = choose_labels(LabelSettings.model_validate(settings), ensemble, corpus)
        counts = []
        for index, row in enumerate(corpus.utterances):
            is_transcribed = row.id.startswith("said")
            by_ensemble = ("transcribed" if is_transcribed else "untranscribed") in settings
            if by_ensemble:
                wanted = ensemble.classes_T[row.first_frame : row.first_frame + row.num_frames]
            else:
                wanted = corpus.labels(index)
            np.testing.assert_array_equal(chosen.labels(index), wanted)
            span = (row.num_frames // 3, row.num_frames // 2)
            found = chosen.labels(index, span=span)
            np.testing.assert_array_equal(found, wanted[slice(*span)])
            counts.append(int((wanted != NO_LABEL).sum()))
        assert chosen.labelled_frames().tolist() == counts


def student(
    house: Path, directory: Path, labels: dict[str, str], **changes: Any
) -> RecordingProgress:
    directory.mkdir()
    progress = RecordingProgress()
    named = changes.pop("hard_labels", house / "labels")
    fields = {"k": 2, "training": make_settings(epochs=2), "labels": labels}
    train_student(
        StudentSettings.model_validate(fields | changes),
        corpus_directory=house,
        store=house / "train.zarr",
        hard_labels=named,
        directory=directory,
        device="cpu",
        progress=progress,
    )
    return progress


def frames_of(house: Path, *kinds: str) -> int:
    with CorpusFile(house / "train.h5") as corpus:
        rows = [row for row in corpus.utterances if row.id != LOST]
        return sum(row.num_frames for row in rows if row.id.startswith(kinds))


def test_hard_label_student_reads_decoded_speech_too(house: Path, tmp_path: Path) -> None:
    decoded = student(house, tmp_path / "d", DECODED, hard_weight=1.0)
    with CorpusFile(house / "train.h5") as corpus:
        assert decoded.total == 2 * corpus.num_frames
    realigned = student(house, tmp_path / "r", REALIGNED, hard_weight=1.0)
    assert realigned.total == 2 * frames_of(house, "said")  # without the one that has no path
    both = student(house, tmp_path / "b", BOTH, hard_weight=1.0)
    assert both.total == 2 * frames_of(house, "said", "mute")
    assert "student hard labels: of 12 utterances, 11 with hard labels, learns from those" in (
        both.notes
    )


def test_equal_steps_count_decoded_speech_as_read(house: Path, tmp_path: Path) -> None:
    equal = {"training": make_settings(epochs=2, equal_steps=True)}
    decoded = student(house, tmp_path / "d", DECODED, hard_weight=1.0, **equal)
    with CorpusFile(house / "train.h5") as corpus:
        assert decoded.total == 2 * corpus.num_frames
        realigned = student(house, tmp_path / "r", REALIGNED, hard_weight=1.0, **equal)
        own = frames_of(house, "said")  # without the one that has no path
        assert realigned.total == round(2 * corpus.num_frames / own) * own


def test_essence_student_counts_its_own_hard_labels(house: Path, tmp_path: Path) -> None:
    given = student(house, tmp_path / "g", {}, hard_labels=None)
    decoded = student(house, tmp_path / "d", DECODED)
    assert "student k=2: 12 utterances, 6 with hard labels" in given.notes
    assert not [note for note in decoded.notes if "with hard labels" in note]  # all have some
    assert given.total == decoded.total
    assert given.losses != decoded.losses
    facts = [read_model_about(tmp_path / name).facts for name in ("g", "d")]
    assert "labels" not in facts[0]
    assert facts[1]["labels"]["untranscribed"] == "decoded"
    with CorpusFile(house / "train.h5") as corpus:
        assert facts[1]["labels"]["digest"] == EnsembleLabels.open(house / "labels", corpus).digest


def test_other_labels_do_not_continue_a_checkpoint(house: Path, tmp_path: Path) -> None:
    """The digest of the labels is part of the run's identity."""
    make_labels(tmp_path / "other", house / "train.h5", lost="said-0")
    student(house, tmp_path / "a", BOTH)
    student(house, tmp_path / "b", BOTH, hard_labels=tmp_path / "other")
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] != weights[1]


def test_labels_are_wanted_where_the_settings_ask_for_them(house: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match="run 'essence labels'"):
        student(house, tmp_path / "a", DECODED, hard_labels=None)
    other = make_corpus_directory(tmp_path / "other")
    make_labels(tmp_path / "labels", other / "train.h5")
    with pytest.raises(BadInput, match="run 'essence labels' again"):
        student(house, tmp_path / "b", DECODED, hard_labels=tmp_path / "labels")


def test_dev_keeps_the_labels_of_the_corpus(house: Path) -> None:
    with open_training_corpus(house, needs_labels=True) as corpus:
        assert corpus.labels is None
        assert corpus.dev.label_counts().any()
