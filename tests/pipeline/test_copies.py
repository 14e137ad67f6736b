"""Copies end to end: the ensemble labels originals, students train on their noisy copies."""

from pathlib import Path

import pytest

from pipeline import flow
from pipeline.job import Job
from pipeline.settings.read import read_settings
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import open_store
from tests.support.makers.training import RecordingProgress
from tests.support.paths import ROOT

SMALL = [
    "corpus.spoken.hours=0.02",
    "corpus.spoken.dev_minutes=0.3",
    "corpus.spoken.test_minutes=0.3",
    "corpus.spoken.train_voices=7",
    "corpus.spoken.dev_voices=2",
    "corpus.spoken.test_voices=3",
    "corpus.spoken.lm_sentences=5000",
    "ensemble.members.0.architecture={kind: tdnn, hidden: 16, layers: 2}",
    "ensemble.members.0.training.epochs=2",
    "ensemble.members.1.architecture={kind: gru, hidden: 12, layers: 1}",
    "ensemble.members.1.training.epochs=1",
    "student.architecture={kind: tdnn, hidden: 16, layers: 2}",
    "student.training.epochs=2",
    "evaluate={beam: 8.0, max_active: 200, min_active: 20}",
    "evaluate.acoustic_scales=[0.2]",
    "evaluate.insertion_penalties=[0.0]",
    "report.bootstrap_samples=100",
    "evaluate.processes=1",
]


def printed_example(directory: Path) -> Path:
    """The last block of YAML in docs/copies.md, and a second copy whose time is warped."""
    page = (ROOT / "docs" / "copies.md").read_text(encoding="utf-8")
    path = directory / "noisy.yaml"
    path.write_text(page.split("```yaml\n")[-1].split("```")[0], encoding="utf-8")
    return path


def job(directory: Path) -> Job:
    settings = read_settings(printed_example(directory))
    tempo = "{kind: tempo, name: tempo0.9, tempo: 0.9}"
    noisy = settings.corpus.copies[0].model_dump_json()
    changes = [*SMALL, f"corpus.copies=[{noisy}, {tempo}]", f"work_dir={directory / 'work'}"]
    return Job(read_settings(directory / "noisy.yaml", changes), RecordingProgress())


def test_pipeline_trains_noisy_students_of_a_clean_teacher(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    first = job(tmp_path)
    results = flow.run(first)
    assert {result.system.kind for result in results} == {"member", "ensemble", "student"}
    assert len([result for result in results if result.system.kind == "student"]) == 3
    corpus, teacher = (first.shelf.place(getattr(first.recipes, x)) for x in ("corpus", "teacher"))
    store = open_store(teacher / "train.zarr")
    with CorpusFile(corpus / "train.h5") as train, CorpusFile(corpus / "test.h5") as test:
        originals = len(train.utterances) // 3
        assert {row.id.partition("-")[0] for row in test.utterances} == {"noisy"}
        labelled = {row.id for row in store.utterances}
        assert labelled == {row.id for row in train.utterances if not row.id.startswith("noisy-")}
    assert isinstance(first.progress, RecordingProgress)
    notes = "\n".join(first.progress.notes)
    assert f"train: {originals} copies are not labelled" in notes
    assert f"{originals} copies read the soft labels of their originals" in notes
    assert f"uses {2 * originals} of {2 * originals} utterances of " in notes
    again = job(tmp_path)
    flow.run(again)
    assert isinstance(again.progress, RecordingProgress)
    assert not again.progress.losses  # all is fresh
