"""Posteriors given the transcript in the store: forward-backward by hand, workers, plain ones."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.cluster.options import Workers
from pipeline.cluster.workers import workforce
from stages.acoustic.lang.priors import log_priors
from stages.acoustic.lang.transcript_graph import TranscriptGraphs
from stages.acoustic.lang.transcript_paths import class_posteriors
from stages.acoustic.models import pieces as cutting
from stages.contract.errors import MissingPart, WorkerMismatch
from stages.teacher import given_transcript
from stages.teacher.label import label_corpus
from stages.teacher.settings import TeacherSettings
from stages.teacher.shard_work import Labeller
from stages.teacher.workforce import ThisProcess, Workforce
from storage.care.audit import audit_store
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import SoftLabelStore, open_store
from tests.support.makers.labels import make_house
from tests.support.makers.store import tree_digest
from tests.support.makers.training import RecordingProgress
from tests.support.oracles.averages import mean_posteriors

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")
KEPT = 4
GIVEN = {"posteriors": "given_transcript", "transcript_scale": 0.7}
SETTINGS: dict[str, Any] = {
    "kept": KEPT,
    "combine": "geometric",
    "shard_frames": 140,
    "chunk_frames": 20,
    "batch_frames": 90,
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_house(tmp_path_factory.mktemp("house"))


def label(
    house: Path,
    directory: Path,
    *,
    workers: Workforce | None = None,
    progress: RecordingProgress | None = None,
    **changes: Any,
) -> Path:
    directory.mkdir(exist_ok=True)
    label_corpus(
        TeacherSettings.model_validate(SETTINGS | changes),
        members=[house / "one", house / "two"],
        corpus_directory=house / "corpus",
        graph_directory=house / "graph",
        directory=directory,
        device="cpu",
        progress=progress or RecordingProgress(),
        workforce=workers or ThisProcess(),
    )
    return directory


@pytest.fixture(scope="module")
def plain(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label(house, tmp_path_factory.mktemp("plain"))


@pytest.fixture(scope="module")
def given(house: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return label(house, tmp_path_factory.mktemp("given"), **GIVEN)


def rows_of(store: SoftLabelStore, id: str, *, num_classes: int) -> np.ndarray:
    """Stored probabilities (T, C); 0 where a class is not kept."""
    soft = store.read_utterance(id, KEPT)
    prob_TC = np.zeros((soft.num_frames, num_classes))
    np.put_along_axis(prob_TC, soft.ids_TK.astype(int), np.exp(soft.logp_TK), axis=1)
    return prob_TC


def test_store_has_the_best_classes_of_all_paths_along_the_transcript(
    house: Path, given: Path, plain: Path, tmp_path: Path
) -> None:
    store, usual = (open_store(each / "train.zarr") for each in (given, plain))
    graphs = TranscriptGraphs.read(house / "graph")
    with CorpusFile(house / "corpus" / "train.h5") as corpus:
        log_prior_C = log_priors(corpus.label_counts(), smoothing=1.0)
        posteriors = mean_posteriors(house, corpus, tmp_path)
        for row, count, logp_TC in zip(
            corpus.utterances, corpus.labelled_frames(), posteriors, strict=True
        ):
            found_TC = rows_of(store, row.id, num_classes=corpus.about.num_classes)
            if not count:
                assert (found_TC == rows_of(usual, row.id, num_classes=found_TC.shape[1])).all()
                continue
            graph = graphs.of(row.transcript.split())
            wanted_TC = class_posteriors(graph, (logp_TC.astype(float) - log_prior_C) * 0.7)
            smallest = np.sort(wanted_TC, axis=1)[:, [-KEPT]]
            kept_TC = np.where(wanted_TC >= smallest, wanted_TC, 0)
            np.testing.assert_allclose(found_TC, kept_TC, atol=0.02)


def test_given_the_transcript_fewer_frames_are_wrong(house: Path, given: Path, plain: Path) -> None:
    with CorpusFile(house / "corpus" / "train.h5") as corpus:
        audits = [
            audit_store(open_store(each / "train.zarr"), corpus=corpus) for each in (given, plain)
        ]
    errors = [audit.teacher_frame_error for audit in audits]
    assert errors[0] is not None
    assert errors[1] is not None
    assert errors[0] < 0.7 * errors[1]


def test_store_tells_that_the_transcript_was_given_and_dev_is_plain(
    given: Path, plain: Path
) -> None:
    assert open_store(given / "train.zarr").about.combine == "geometric, given transcript"
    assert open_store(plain / "train.zarr").about.combine == "geometric"
    assert tree_digest(given / "dev.zarr") == tree_digest(plain / "dev.zarr")
    assert open_store(given / "train.zarr").digest != open_store(plain / "train.zarr").digest


def test_two_workers_and_one_member_at_a_time_give_the_same_bytes(
    house: Path, given: Path, tmp_path: Path
) -> None:
    notes: list[str] = []
    with workforce(Workers(number=2), device="cpu", note=notes.append) as two:
        label(house, tmp_path / "two", workers=two, splits=("train",), **GIVEN)
    label(house, tmp_path / "one", splits=("train",), loaded_megabytes=0, **GIVEN)
    wanted = tree_digest(given / "train.zarr")
    assert tree_digest(tmp_path / "two" / "train.zarr") == wanted
    assert tree_digest(tmp_path / "one" / "train.zarr") == wanted


def test_long_utterances_are_whole_for_their_path(
    house: Path, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "PIECE_FRAMES", 11)
    label(house, tmp_path, splits=("train",), **GIVEN)
    store, usual = (open_store(each / "train.zarr") for each in (tmp_path, given))
    for row in usual.utterances:
        found, wanted = (rows_of(each, row.id, num_classes=6) for each in (store, usual))
        np.testing.assert_allclose(found, wanted, atol=0.02)


def test_utterances_without_a_path_are_plain_and_noted(
    house: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given_transcript, "MOST_CELLS", 1)
    progress = RecordingProgress()
    label(house, tmp_path, splits=("train",), progress=progress, **GIVEN)
    store, usual = (open_store(each / "train.zarr") for each in (tmp_path, plain))
    for row in usual.utterances:
        found, wanted = (each.read_utterance(row.id, KEPT) for each in (store, usual))
        np.testing.assert_array_equal(found.ids_TK, wanted.ids_TK)
    (note,) = [note for note in progress.notes if "plain posteriors" in note]
    assert note.startswith("train: 18 transcribed utterances have plain posteriors: ")


def test_graph_is_needed_and_the_same_on_every_worker(house: Path, tmp_path: Path) -> None:
    settings = TeacherSettings.model_validate(SETTINGS | GIVEN)
    common: dict[str, Any] = {
        "members": [house / "one"],
        "corpus_directory": house / "corpus",
        "directory": tmp_path,
        "device": "cpu",
        "progress": RecordingProgress(),
    }
    with pytest.raises(MissingPart, match="need a decoding graph"):
        label_corpus(settings, **common, workforce=ThisProcess())

    class OtherGraph(ThisProcess):
        def do(self, works, *, task):  # type: ignore[no-untyped-def]
            place = works[0].ensemble.transcripts
            path = place.graph_directory / "HLG.fst"
            before = path.read_bytes()
            path.write_bytes(before[:-1] + b"?")
            try:
                yield Labeller().do(works[0], task=task)
            finally:
                path.write_bytes(before)

    with pytest.raises(WorkerMismatch, match="wanted"):
        label_corpus(settings, **common, graph_directory=house / "graph", workforce=OtherGraph())


def test_posteriors_are_in_the_recipe_unless_they_are_plain() -> None:
    usual = TeacherSettings().identity()
    assert not {"posteriors", "transcript_scale"} & usual.keys()
    assert TeacherSettings(transcript_scale=0.1).identity() == usual
    assert GIVEN.items() <= TeacherSettings.model_validate(GIVEN).identity().items()
