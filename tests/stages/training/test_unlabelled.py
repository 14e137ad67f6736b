"""Untranscribed speech in training: skipped by hard labels, used by soft labels."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from stages.acoustic.models.model_file import load_model
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.errors import BadInput
from stages.members.folded_member import fold_directory
from stages.members.folds import plan_folds
from stages.members.kinds import open_member
from stages.members.trained import train_member
from stages.members.trained_settings import TrainedMemberSettings
from stages.student.essence import Essence
from stages.student.settings import StudentSettings
from stages.student.train import train_student
from stages.training.batches import Piece, read_batch
from stages.training.checkpoint import HEAD_FILE, Position, read_checkpoint, write_checkpoint
from stages.training.corpus import open_training_corpus
from stages.training.frame_loss import hard_loss
from stages.training.step import StepLoss
from storage.care.audit import audit_store
from storage.corpus.corpus_file import NO_LABEL, CorpusFile
from storage.corpus.utterance import Utterance
from storage.files.fingerprint import fingerprint
from storage.read.reader import open_store
from tests.support.makers.parts import split
from tests.support.makers.posteriors import model_posteriors
from tests.support.makers.teacher import label, make_member
from tests.support.makers.training import RecordingProgress, make_corpus_directory, make_settings
from tests.support.makers.unlabelled import (
    LABELLED,
    RARE,
    UNLABELLED,
    Truth,
    make_knowing_store,
    make_partly_labelled,
)

SMALL = ArchitectureSettings(hidden=13, layers=2, dropout=0.1)
STILL = ArchitectureSettings(hidden=13, layers=2, dropout=0.0)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    """A partly labelled corpus, the store of a teacher that has all labels, and all labels."""
    directory = tmp_path_factory.mktemp("house")
    truth = make_partly_labelled(directory)
    make_knowing_store(directory / "train.zarr", directory / "train.h5", truth)
    return directory, truth


@pytest.fixture
def corpus(house: tuple[Path, Truth]) -> Path:
    return house[0]


@pytest.fixture
def read_ids(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Count the utterances whose features are read, except in the passes for statistics."""
    ids: Counter[str] = Counter()
    plain = CorpusFile.features

    def noted(self: CorpusFile, index: int, **span: Any) -> NDArray[np.float32]:
        ids[self.utterances[index].id] += 1
        return plain(self, index, **span)

    monkeypatch.setattr(CorpusFile, "features", noted)
    return iter([ids])


def member(corpus: Path, directory: Path, *, folds: int = 1) -> RecordingProgress:
    directory.mkdir(exist_ok=True)
    progress = RecordingProgress()
    settings = TrainedMemberSettings(
        name="m", architecture=SMALL, training=make_settings(epochs=2), folds=folds
    )
    train_member(
        settings, corpus_directory=corpus, directory=directory, device="cpu", progress=progress
    )
    return progress


def student(
    corpus: Path,
    directory: Path,
    *,
    progress: RecordingProgress | None = None,
    store: Path | None = None,
    epochs: int = 4,
    training: dict[str, Any] | None = None,
    **changes: Any,
) -> RecordingProgress:
    directory.mkdir(exist_ok=True)
    progress = progress or RecordingProgress()
    fields: dict[str, Any] = {"k": 2, "architecture": SMALL}
    fields["training"] = make_settings(epochs=epochs, **(training or {}))
    train_student(
        StudentSettings.model_validate(fields | changes),
        corpus_directory=corpus,
        store=store or corpus / "train.zarr",
        directory=directory,
        device="cpu",
        progress=progress,
    )
    return progress


def test_member_reads_and_counts_labelled_speech_only(
    corpus: Path, tmp_path: Path, read_ids: Iterator[Counter[str]]
) -> None:
    progress = member(corpus, tmp_path)
    said = {id for id in next(read_ids) if not id.startswith("dev")}
    assert said == {f"said-{number}" for number in range(len(LABELLED))}
    assert progress.done == progress.total == 2 * sum(LABELLED)
    assert "member m: of 12 utterances, 6 with hard labels, learns from those" in progress.notes


def test_folds_read_only_the_labelled_speech_of_the_others(
    corpus: Path, tmp_path: Path, read_ids: Iterator[Counter[str]]
) -> None:
    progress = member(corpus, tmp_path, folds=3)
    seen = next(read_ids)
    opened: Any = open_member(tmp_path, device="cpu")
    with CorpusFile(corpus / "train.h5") as train:
        speakers = {row.speaker for row in train.utterances}
        fold_of = opened.about.fold_of
        assert fold_of.keys() == speakers
        last = [row for row in train.utterances if fold_of[row.speaker] != 2]
    assert not [id for id in seen if id.startswith("mute")]
    # Each in two epochs of the two folds that train on it.
    assert {seen[f"said-{number}"] for number in range(len(LABELLED))} == {4}
    wanted = 2 * sum(row.num_frames for row in last if row.id.startswith("said"))
    assert progress.done == progress.total == wanted
    for fold in range(3):
        assert load_model(fold_directory(tmp_path, fold), "cpu")[1].facts["fold"] == fold + 1


@given(st.lists(st.integers(1, 99), min_size=9, max_size=40), st.integers(2, 4), st.integers(2, 9))
def test_folds_are_even_in_labelled_speech_and_in_all(
    frames: list[int], num_folds: int, num_labelled: int
) -> None:
    """Nine speakers, the last ones without labels; labelled speech is in two folds or more."""
    rows = [
        Utterance(
            id=f"u{i}", speaker=f"s{i % 9}", transcript="", digest="", first_frame=0, num_frames=n
        )
        for i, n in enumerate(frames)
    ]
    labelled = [row for row in rows if int(row.speaker[1:]) < num_labelled]
    unlabelled = {row.id for row in rows} - {row.id for row in labelled}
    fold_of = plan_folds(rows, num_folds, unlabelled=unlabelled)
    assert fold_of == plan_folds(rows[::-1], num_folds, unlabelled=unlabelled)
    assert fold_of.keys() == {f"s{number}" for number in range(9)}
    assert len({fold_of[row.speaker] for row in labelled}) == min(num_folds, num_labelled)
    of_speaker, of_fold = Counter[str](), Counter[int]()
    for row in labelled:
        of_speaker[row.speaker] += row.num_frames
        of_fold[fold_of[row.speaker]] += row.num_frames
    held = [of_fold[fold] for fold in range(num_folds)]
    assert max(held) - min(held) <= max(of_speaker.values())


def test_unlabelled_speakers_even_out_the_folds() -> None:
    """The folds have 11 and 10 labelled frames before the unlabelled speakers are added."""
    spoken = {"a": 11, "b": 10, "stranger": 5, "other": 3}
    rows = [
        Utterance(id=name, speaker=name, transcript="", digest="", first_frame=0, num_frames=n)
        for name, n in spoken.items()
    ]
    fold_of = plan_folds(rows, 2, unlabelled={"stranger", "other"})
    assert fold_of == {"a": 0, "b": 1, "stranger": 1, "other": 0}


def test_folds_with_one_labelled_speaker_are_refused(tmp_path: Path) -> None:
    make_partly_labelled(tmp_path / "corpus", labelled_speakers=1)
    with pytest.raises(BadInput, match="hard labels of one speaker for 2 folds, wanted two"):
        member(tmp_path / "corpus", tmp_path / "m", folds=2)


def test_student_on_hard_labels_skips_untranscribed_speech(
    corpus: Path, tmp_path: Path, read_ids: Iterator[Counter[str]]
) -> None:
    progress = student(corpus, tmp_path, hard_weight=1.0)
    assert not [id for id in next(read_ids) if id.startswith("mute")]
    assert progress.done == progress.total == 4 * sum(LABELLED)
    assert any("6 with hard labels, learns from those" in note for note in progress.notes)


def test_fully_labelled_corpus_is_used_whole(tmp_path: Path) -> None:
    """An empty utterance does not count as unlabelled, so existing recipes do not change."""
    make_corpus_directory(tmp_path)
    with open_training_corpus(tmp_path, needs_labels=True) as corpus:
        assert not all(row.num_frames for row in corpus.train.utterances)
        assert corpus.unlabelled == frozenset()
        assert corpus.labelled_part().left_out == frozenset()
        fold_of = plan_folds(corpus.train.utterances, 2, unlabelled=corpus.unlabelled)
    assert fold_of == {"speaker 0": 0, "speaker 1": 1, "speaker 2": 0}  # as ever
    progress = member(tmp_path, tmp_path / "m")
    assert not [note for note in progress.notes if "with hard labels" in note]


def recall_of_rare(directory: Path, corpus: Path) -> float:
    """Recall of the rare class over the frames of dev."""
    model, _ = load_model(directory, "cpu")
    with CorpusFile(corpus / "dev.h5") as dev:
        indices = range(len(dev.utterances))
        said = model_posteriors(model, dev, indices, batch_frames=999)
        heard = np.concatenate([said[index].argmax(axis=1) for index in indices])
        labels = np.concatenate([dev.labels(index) for index in indices])
    assert (labels == RARE).sum() > 9
    return float((heard[labels == RARE] == RARE).mean())


@pytest.mark.parametrize("hard_weight", [0.0, 0.5, 0.9])
def test_student_learns_a_class_that_occurs_only_in_untranscribed_speech(
    corpus: Path, tmp_path: Path, hard_weight: float
) -> None:
    taught = student(corpus, tmp_path / "soft", hard_weight=hard_weight, epochs=8)
    student(corpus, tmp_path / "hard", hard_weight=1.0, epochs=8)
    assert taught.total == 8 * (sum(LABELLED) + sum(UNLABELLED))
    assert "student k=2: 12 utterances, 6 with hard labels" in taught.notes
    assert recall_of_rare(tmp_path / "soft", corpus) > 0.9
    assert recall_of_rare(tmp_path / "hard", corpus) == 0.0


def test_interrupted_student_resumes_to_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    def stop(step: int) -> None:
        if step == 9:
            signal.raise_signal(signal.SIGINT)

    pace = {"checkpoint_minutes": 0.0}
    student(corpus, tmp_path / "whole", training=pace)
    with pytest.raises(KeyboardInterrupt):
        student(corpus, tmp_path / "cut", training=pace, progress=RecordingProgress(stop))
    assert (tmp_path / "cut" / HEAD_FILE).is_file()
    assert not (tmp_path / "cut" / "model.json").exists()
    rest = student(corpus, tmp_path / "cut", training=pace)
    assert 0 < rest.total < 4 * (sum(LABELLED) + sum(UNLABELLED))
    for name in ("model.safetensors", "metrics.jsonl", "model.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_hard_part_of_the_loss_is_the_mean_over_labelled_frames(
    corpus: Path, tmp_path: Path
) -> None:
    """Otherwise untranscribed speech would lower the reported loss."""
    standing = {"learning_rate": 1e-12, "weight_decay": 0.0}
    student(corpus, tmp_path, epochs=2, architecture=STILL, training=standing)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    model, _ = load_model(tmp_path, "cpu")
    with CorpusFile(corpus / "train.h5") as train:
        indices = [i for i, row in enumerate(train.utterances) if row.id.startswith("said")]
        said = model_posteriors(model, train, indices, batch_frames=999)
        logp = torch.from_numpy(np.concatenate([said[index] for index in indices]))
        labels = torch.from_numpy(np.concatenate([train.labels(i) for i in indices])).long()
    wanted = pytest.approx(float(hard_loss(logp, labels)), rel=1e-4)
    assert [json.loads(line)["train_parts"]["hard"] for line in lines] == [wanted, wanted]


def test_objective_counts_the_labelled_frames_of_a_batch(corpus: Path) -> None:
    settings = StudentSettings(k=2, hard_weight=0.5)
    objective = Essence(settings, open_store(corpus / "train.zarr"))
    with CorpusFile(corpus / "train.h5") as train:
        places = [train.index_of(id) for id in ("said-1", "mute-3")]
        pieces = [
            Piece(index=i, start=0, num_frames=train.utterances[i].num_frames) for i in places
        ]
        batch = read_batch(train, pieces)
    labels_N = batch.labels_BT[batch.live_BT]
    logits_NC = torch.randn(36, 5, generator=torch.Generator().manual_seed(1))
    loss = objective.loss(logits_NC, nn.Identity(), labels_N, objective.read(batch))
    assert (loss.num_frames, loss.part_frames) == (36, {"hard": 17})
    assert StepLoss.of(loss).parts["hard"] == loss.parts["hard"] * 17
    assert StepLoss.of(loss).parts["soft"] == loss.parts["soft"] * 36


def test_loss_parts_are_means_over_their_own_frames() -> None:
    position = Position(
        epoch_frames=30,
        epoch_loss=60.0,
        epoch_parts={"hard": 60.0, "soft": 60.0},
        epoch_part_frames={"hard": 10},
    )
    assert position.means() == (2.0, {"hard": 6.0, "soft": 2.0})


def test_checkpoint_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    """Its head lacks younger fields, and its digest covers only what it has."""
    write_checkpoint(tmp_path, Position(epoch=3), {}, run="r")
    head = json.loads((tmp_path / HEAD_FILE).read_bytes())
    del head["position"]["epoch_part_frames"], head["program"], head["threads"]
    rest = {key: value for key, value in head.items() if key != "digest"}
    head["digest"] = fingerprint(rest)
    (tmp_path / HEAD_FILE).write_text(json.dumps(head))
    kept = read_checkpoint(tmp_path, run="r")
    assert kept is not None
    assert kept[0] == Position(epoch=3)


def test_changed_frame_count_in_a_checkpoint_is_refused(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, Position(epoch_part_frames={"hard": 17}), {}, run="r")
    text = (tmp_path / HEAD_FILE).read_text()
    (tmp_path / HEAD_FILE).write_text(text.replace('"hard": 17', '"hard": 18'))
    with pytest.raises(BadInput, match="its digest does not match"):
        read_checkpoint(tmp_path, run="r")


def test_teacher_labels_all_speech_and_is_evaluated_on_labelled_speech(
    corpus: Path, tmp_path: Path
) -> None:
    members = [make_member(tmp_path / kind, kind, seed=3) for kind in ("tdnn", "gru")]
    summary = label(tmp_path / "teacher", corpus, members).stores[0]
    store = open_store(tmp_path / "teacher" / "train.zarr")
    assert summary.num_frames == store.num_frames == sum(LABELLED) + sum(UNLABELLED)
    with CorpusFile(corpus / "train.h5") as train:
        wrong = []
        for index, row in enumerate(train.utterances):
            soft, hard_T = store.read_utterance(row.id, 3), train.labels(index)
            assert soft.num_frames == row.num_frames
            known_T = hard_T != NO_LABEL
            assert known_T.all() if row.id.startswith("said") else not known_T.any()
            wrong += (soft.ids_TK[known_T, 0] != hard_T[known_T]).tolist()
        audit = audit_store(store, corpus=train)
    assert summary.teacher_frame_error == pytest.approx(np.mean(wrong))
    assert (audit.num_labelled, len(wrong)) == (sum(LABELLED), sum(LABELLED))
    assert audit.agreement == pytest.approx(1 - np.mean(wrong))
    taught = student(corpus, tmp_path / "student", store=tmp_path / "teacher" / "train.zarr", k=3)
    assert taught.done == 4 * store.num_frames


def test_utterances_without_soft_or_hard_labels_are_skipped(
    house: tuple[Path, Truth], tmp_path: Path
) -> None:
    """If the store lacks the untranscribed speech, one note counts it and training skips it."""
    corpus, _ = house
    with CorpusFile(corpus / "train.h5") as train:
        rows = [row for row in train.utterances if row.id.startswith("said")]
    split(corpus / "train.zarr", tmp_path / "few.zarr", [row.id for row in rows])
    progress = student(corpus, tmp_path / "few", store=tmp_path / "few.zarr")
    assert progress.total == 4 * sum(LABELLED)
    assert any("7 of the corpus's 13 have no soft labels" in note for note in progress.notes)
    assert not any("with hard labels" in note for note in progress.notes)
