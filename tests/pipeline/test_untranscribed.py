"""Untranscribed speech end to end: from a Kaldi folder without a text to the report."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import flow
from pipeline.job import Job
from pipeline.settings.read import read_settings
from pipeline.side_by_side import make_side_by_side
from pipeline.terminal.status_table import status_table
from pipeline.terminal.tables import results_table
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import open_store
from tests.support.makers.kaldi import add_unlabelled_folder, make_kaldi_directory
from tests.support.makers.pipeline import TINY, essence
from tests.support.makers.training import RecordingProgress

BASE: dict[str, Any] = dict(TINY)


def job(directory: Path, **kaldi: Any) -> Job:
    """The tiny pipeline over the Kaldi directory and a folder of untranscribed speech."""
    settings = BASE | {
        "work_dir": str(directory / "work"),
        "corpus": {
            "source": "kaldi",
            "path": str(directory / "data"),
            "kaldi": {"unlabelled": ["more"], **kaldi},
            "features": {"subsample": 2},
        },
        "ensemble": {"members": [BASE["ensemble"]["members"][0] | {"folds": 2}]},
        "teacher": {"kept": 3, "shard_frames": 300, "chunk_frames": 100},
        "student": BASE["student"] | {"k": 2},
        "compare": [{"hard_weight": 1.0}],
        "evaluate": BASE["evaluate"] | {"processes": 1},
    }
    path = directory / "pipeline.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Job(read_settings(path), RecordingProgress())


def notes_of(job: Job) -> list[str]:
    assert isinstance(job.progress, RecordingProgress)
    return job.progress.notes


@pytest.fixture
def here(tmp_path: Path) -> Path:
    make_kaldi_directory(tmp_path / "data", sentences=24, noise=1.0)
    add_unlabelled_folder(tmp_path / "data", "more", sentences=13, noise=1.0)
    return tmp_path


def frames_of(corpus: Path, *, labelled: bool) -> int:
    with CorpusFile(corpus / "train.h5") as train:
        counts: Mapping[str, int] = dict(
            zip((row.id for row in train.utterances), train.labelled_frames(), strict=True)
        )
        return sum(row.num_frames for row in train.utterances if counts[row.id] or not labelled)


def test_pipeline_uses_a_folder_without_a_text(here: Path) -> None:
    first = job(here)
    table = results_table(flow.run(first), first.settings.report)
    assert all(name in table for name in ("wide", "ensemble", "k=2", "hard labels"))
    corpus, teacher = (first.shelf.place(getattr(first.recipes, x)) for x in ("corpus", "teacher"))
    with CorpusFile(corpus / "train.h5") as train:
        assert len(train.utterances) == 24 + 13
        store = open_store(teacher / "train.zarr")
        assert {row.id for row in store.utterances} == {row.id for row in train.utterances}
    notes = notes_of(first)
    assert any("hard labels in train: 24 of 37 utterances" in note for note in notes)
    assert "member wide: of 37 utterances, 24 with hard labels, learns from those" in notes
    assert "student k=2: 37 utterances, 24 with hard labels" in notes
    assert "student hard labels: of 37 utterances, 24 with hard labels, learns from those" in notes
    page = (here / "work" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Hard labels in train: 24 of 37 utterances." in page
    assert "with hard labels</small>" in page
    again = job(here)
    assert results_table(flow.run(again), again.settings.report) == table
    assert all(": fresh (" in note for note in notes_of(again))
    assert "to do" not in status_table(again, is_thorough=True)[0]


def test_store_of_the_labelled_speech_is_split_by_the_written_list(here: Path) -> None:
    """The control experiment: soft labels of the labelled speech only."""
    made = job(here, labelled_share=0.6)
    corpus = flow.corpus(made)
    flow.ensemble(made)
    store = flow.teacher(made) / "train.zarr"
    listed = corpus / "train-labelled.txt"
    ran = essence(here, "cache", "split", str(store), "few.zarr", "--utterances", str(listed))
    assert ran.returncode == 0, ran.stderr
    assert open_store(here / "few.zarr").num_frames == frames_of(corpus, labelled=True)
    taught = essence(here, "student", "--set", "student.store=few.zarr")
    assert taught.returncode == 0, taught.stderr
    assert "have no soft labels and are left out" in taught.stderr
    assert "with hard labels" not in taught.stderr


def test_changed_untranscribed_speech_makes_another_corpus(here: Path) -> None:
    before = flow.corpus(job(here))
    shutil.rmtree(here / "data" / "more")
    add_unlabelled_folder(here / "data", "more", sentences=14, noise=1.0)
    assert flow.corpus(job(here)) != before


def test_sweep_progress_counts_the_frames_that_each_student_reads(here: Path) -> None:
    made = job(here, labelled_share=0.6)
    corpus = flow.corpus(made)
    flow.ensemble(made)
    flow.teacher(made)
    assert 0 < frames_of(corpus, labelled=True) < frames_of(corpus, labelled=False)
    for student in made.settings.students:
        assert make_side_by_side(made, [flow.student_model(made, student)], num_jobs=1) == {}
        assert isinstance(made.progress, RecordingProgress)
        wanted = frames_of(corpus, labelled=student.hard_weight == 1)
        assert made.progress.done == made.progress.total == 2 * wanted


def test_incomplete_folder_gives_one_line_of_error(here: Path) -> None:
    job(here)
    (here / "data" / "more" / "utt2spk").unlink()
    ran = essence(here, "corpus")
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert line.startswith("essence: ")
    assert "more/utt2spk is missing: a folder of corpus.kaldi.unlabelled needs feats.scp" in line
