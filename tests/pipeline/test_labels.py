"""Hard labels by the ensemble end to end: members in folds, students, sweep, status and report."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import flow
from pipeline.errors import NotMadeYet
from pipeline.job import Job
from pipeline.settings.read import read_settings
from pipeline.sweep.grid import Axis, SweepGrid
from pipeline.sweep.run import sweep
from pipeline.sweep.table import as_table
from pipeline.terminal.status_table import status_table
from pipeline.terminal.tables import results_table
from stages.contract.ensemble_labels import EnsembleLabels
from storage.corpus.corpus_file import CorpusFile
from tests.support.makers.kaldi import add_unlabelled_folder, make_kaldi_directory
from tests.support.makers.pipeline import TINY, essence, tree_digests
from tests.support.makers.training import RecordingProgress

BASE: dict[str, Any] = dict(TINY)


def job(directory: Path, **changes: Any) -> Job:
    settings = BASE | {
        "work_dir": str(directory / "work"),
        "corpus": {
            "source": "kaldi",
            "path": str(directory / "data"),
            "kaldi": {"unlabelled": ["more"]},
            "features": {"subsample": 1, "splice_left": 0, "splice_right": 0},
        },
        "ensemble": {"members": [BASE["ensemble"]["members"][0] | {"folds": 2}]},
        "teacher": {"kept": 3, "shard_frames": 300, "chunk_frames": 100},
        "student": BASE["student"] | {"k": 2},
        "compare": [
            {"labels": {"transcribed": "realigned"}},
            {"labels": {"untranscribed": "decoded"}, "hard_weight": 1.0},
        ],
        "evaluate": BASE["evaluate"] | {"processes": 1},
        **changes,
    }
    path = directory / "pipeline.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return Job(read_settings(path), RecordingProgress())


def notes_of(job: Job) -> str:
    assert isinstance(job.progress, RecordingProgress)
    return "\n".join(job.progress.notes)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    make_kaldi_directory(tmp_path / "data", sentences=24, noise=1.0)
    add_unlabelled_folder(tmp_path / "data", "more", sentences=13, noise=1.0)
    return tmp_path


def test_pipeline_trains_students_on_labels_by_the_ensemble(here: Path) -> None:
    first = job(here)
    assert "labels" in status_table(first, is_thorough=True)[0]
    table = results_table(flow.run(first), first.settings.report)
    for name in ("k=2 ", "k=2 transcribed=realigned", "hard labels untranscribed=decoded"):
        assert name in table
    place = first.shelf.place(first.recipes.labels)
    with CorpusFile(first.shelf.place(first.recipes.corpus) / "train.h5") as train:
        labels = EnsembleLabels.open(place, train)
        made = [each.made for each in labels.about.utterances]
        assert len(made) == 24 + 13
        assert set(made[:24]) <= {"aligned", "none"}
        assert set(made[24:]) <= {"decoded", "none"}
        assert made.count("none") < 9
    assert "labels: other than the given ones in " in notes_of(first)
    assert "student k=2: 37 utterances, 24 with hard labels" in notes_of(first)
    page = (here / "work" / "report" / "index.html").read_text(encoding="utf-8")
    assert "transcribed=realigned" in page
    again = job(here)
    assert results_table(flow.run(again), again.settings.report) == table
    assert all(": fresh (" in note for note in notes_of(again).splitlines())
    assert "to do" not in status_table(again, is_thorough=True)[0]
    # Students that do not ask for them do not depend on the labels.
    assert "labels" not in first.recipes.student(first.settings.student).inputs
    compared = first.recipes.student(first.settings.students[1])
    assert compared.inputs["labels"] == first.recipes.labels.fingerprint


def test_labels_command_makes_the_same_bytes_twice_and_sweep_wants_them(here: Path) -> None:
    made = job(here, compare=[])
    flow.corpus(made)
    flow.ensemble(made)
    flow.teacher(made)
    axis = Axis("student.labels.untranscribed", "none,decoded", "--vary")
    grid = SweepGrid(axes=(axis,), num_seeds=1, with_compared=False)
    with pytest.raises(NotMadeYet, match="run 'essence labels' first"):
        sweep(made, grid, num_jobs=1, evaluate=False)
    ran = essence(here, "labels")
    assert ran.returncode == 0, ran.stderr
    place = Path(ran.stdout.strip())
    assert here / place == made.shelf.place(made.recipes.labels)
    table = as_table(sweep(made, grid, num_jobs=1, evaluate=False))
    assert "labels.untranscribed" in table
    assert "decoded" in table
    before = tree_digests(here / place)
    for path in sorted((here / place).iterdir()):
        path.unlink()
    (here / place).rmdir()
    flow.labels(job(here, compare=[]))
    assert tree_digests(here / place) == before


def test_labels_depend_on_the_search_and_not_on_the_soft_labels(here: Path) -> None:
    usual = job(here).recipes.labels
    teacher = {"kept": 2, "shard_frames": 100, "chunk_frames": 50, "temperatures": [2.0]}
    assert job(here, teacher=teacher).recipes.labels == usual
    for change in (
        {"teacher": {"kept": 3, "combine": "arithmetic"}},
        {"evaluate": BASE["evaluate"] | {"beam": 9.0}},
        {"ensemble": {"members": BASE["ensemble"]["members"][:1]}},
    ):
        assert job(here, **change).recipes.labels != usual
