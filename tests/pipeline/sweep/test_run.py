"""A sweep: every student of the grid once, independent of failures of others; one table."""

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.job import Job
from pipeline.settings.read import read_settings
from pipeline.sweep.run import plan_sweep
from pipeline.systems import students_of
from stages.contract.progress import SilentProgress
from tests.support.makers.pipeline import ROOT, essence, tree_digests, write_tiny
from tests.support.makers.sweep import make_grid

SEED = 3  # of the tiny settings' student


def job_in(directory: Path, *changes: str) -> Job:
    at = f"work_dir={directory / 'work'}"
    return Job(read_settings(directory / "pipeline.yaml", [at, *changes]), SilentProgress())


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with corpus and teacher but no ensemble; tests do not change it."""
    pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
    directory = tmp_path_factory.mktemp("taught")
    write_tiny(directory)
    for command in ("corpus", "ensemble", "teacher"):
        ran = essence(directory, command)
        assert ran.returncode == 0, ran.stderr
    for member in (directory / "work").glob("member-*"):
        shutil.rmtree(member)
    return directory


@pytest.fixture
def here(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, as the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(taught, tmp_path, dirs_exist_ok=True)
    return tmp_path


def sweep(*words: str) -> Result:
    return CliRunner().invoke(main, ["sweep", *words])


def made(directory: Path) -> set[str]:
    return {path.name for path in (directory / "work").iterdir()}


def test_sweep_prints_one_table_and_changes_nothing_above_the_students(here: Path) -> None:
    above = tree_digests(here / "work")
    grid = ("--k", "1,4", "--hard-weight", "0.5,1", "--seeds", "2")
    ran = sweep(*grid)
    assert ran.exit_code == 0, ran.output
    now = tree_digests(here / "work")
    assert {path: now[path] for path in above} == above
    kinds = Counter(name.partition("-")[0] for name in made(here))
    assert (kinds["student"], kinds["evaluation"]) == (6, 6)
    assert (kinds["corpus"], kinds["teacher"], kinds["member"]) == (1, 1, 0)
    head, _, *lines = ran.stdout.splitlines()
    assert head.split()[:4] == ["k", "hard_weight", "seeds", "frame"]
    assert [line.split()[:3] for line in lines] == [
        ["-", "1.0", "2"],
        ["1", "0.5", "2"],
        ["4", "0.5", "2"],
    ]
    job = job_in(here)
    found = {system.name for system in students_of(job)}  # what evaluate and report show
    assert found == {"k=1", "k=1 seed=4", "hard labels", "hard labels seed=4", "k=4", "k=4 seed=4"}

    again = sweep(*grid, "--json")
    assert again.exit_code == 0, again.output
    assert tree_digests(here / "work") == now
    notes = again.stderr.splitlines()
    assert all(": fresh (" in note or note.startswith("sweep: ") for note in notes), notes
    rows = json.loads(again.stdout)
    for row, line in zip(rows, lines, strict=True):
        assert row["num_seeds"] == 2
        assert [student["seed"] for student in row["students"]] == [SEED, SEED + 1]
        for measure in ("frame_error_dev", "wer_dev", "wer_test"):
            first, second = (student[measure] for student in row["students"])
            spread = row[measure]
            assert spread["mean"] == pytest.approx((first + second) / 2)
            assert spread["standard_deviation"] == pytest.approx(abs(first - second) / 2**0.5)
            wanted = f"{100 * spread['mean']:.2f} ± {100 * spread['standard_deviation']:.2f}"
            assert wanted in line


def test_students_that_differ_in_other_settings_are_not_pooled(here: Path) -> None:
    compared = "compare=[{hard_weight: 1.0}, {hard_weight: 1.0, training: {epochs: 3}}]"
    ran = sweep("--compare", "--no-evaluate", "--seeds", "2", "--set", compared)
    assert ran.exit_code == 0, ran.output
    head, _, *lines = ran.stdout.splitlines()
    assert head.split()[:4] == ["k", "hard_weight", "training.epochs", "seeds"]
    assert [line.split()[:4] for line in lines] == [
        ["-", "1.0", "2", "2"],
        ["-", "1.0", "3", "2"],
        ["5", "0.5", "2", "2"],
    ]


def test_sweep_varies_any_setting_of_the_student(here: Path) -> None:
    grid = ("--vary", "student.training.learning_rate=1e-3,3e-3", "--no-evaluate")
    ran = sweep(*grid, "--json")
    assert ran.exit_code == 0, ran.output
    rows = json.loads(ran.stdout)
    assert [row["training.learning_rate"] for row in rows] == [0.001, 0.003]
    settings = [
        json.loads((here / row["students"][0]["directory"] / "made.json").read_text())["settings"]
        for row in rows
    ]
    assert [found["training"]["learning_rate"] for found in settings] == [0.001, 0.003]
    again = sweep(*grid, "--csv")
    found = list(csv.DictReader(io.StringIO(again.stdout)))
    assert [row["training.learning_rate"] for row in found] == ["0.001", "0.003"]
    assert [row["k"] for row in found] == ["5", "5"]


def test_sweep_without_evaluation_has_no_word_errors(here: Path) -> None:
    ran = sweep("--k", "2", "--seeds", "2", "--no-evaluate", "--csv")
    assert ran.exit_code == 0, ran.output
    assert not [name for name in made(here) if name.startswith("evaluation")]
    rows = list(csv.DictReader(io.StringIO(ran.stdout)))
    assert [(row["name"], row["seed"]) for row in rows] == [("k=2", "3"), ("k=2 seed=4", "4")]
    for row in rows:
        about = json.loads((here / row["directory"] / "model.json").read_text())
        assert float(row["frame_error_dev"]) == about["facts"]["dev_frame_error"]
        assert row["wer_test"] == row["failure"] == ""


def spoil(here: Path, **values: str) -> Path:
    """Make an empty directory in the place of this student."""
    job = job_in(here)
    (student,) = plan_sweep(job, make_grid(**values))
    place = job.shelf.place(job.recipes.student(student))
    place.mkdir()
    return place


@pytest.mark.parametrize("num_jobs", [1, 2])
def test_failed_student_is_listed_and_stops_no_other(here: Path, num_jobs: int) -> None:
    spoilt = spoil(here, k="2")
    words = ("--k", "1,2,3", "--no-evaluate", "--jobs", str(num_jobs))
    ran = sweep(*words)
    assert ran.exit_code == 1, ran.output
    assert [line.split()[:3] for line in ran.stdout.splitlines()[2:]] == [
        ["1", "0.5", "1"],
        ["2", "0.5", "0"],
        ["3", "0.5", "1"],
    ]
    said = ran.stderr.partition("essence: ")[2]
    assert said.startswith("1 of 3 students failed")
    assert f"{spoilt.name} exists without its made.json" in said
    assert "essence student --set student.k=2" in said
    spoilt.rmdir()
    again = sweep(*words)
    assert again.exit_code == 0, again.output
    assert again.stderr.count(": fresh (") == 2


@pytest.mark.slow
def test_killed_and_interrupted_sweep_resumes_to_the_same_students(
    here: Path, tmp_path: Path
) -> None:
    words = ["--k", "1,2,3", "--no-evaluate", "--set", "student.training.epochs=15"]
    words += ["--set", "student.training.patience=15"]
    beside = tmp_path / "beside"
    shutil.copytree(here / "work", beside / "work")

    with started(here, "sweep", *words, "--jobs", "2") as run:
        wait_for(lambda: training_children(run.pid))
        killed = training_children(run.pid)[0]
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: set(training_children(run.pid)) - {killed})
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert "its process ended with code -9" in errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    assert len(list((here / "work").glob("student-*.partial"))) >= 2  # of the killed, the stopped

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes: another number sums in another order
    try:
        for place in (here, beside):
            ran = sweep(*words, "--set", f"work_dir={place / 'work'}")
            assert ran.exit_code == 0, ran.output
    finally:
        torch.set_num_threads(threads)
    assert models(here) == models(beside)


def models(directory: Path) -> dict[str, str]:
    digests = tree_digests(directory / "work")
    return {path: digest for path, digest in digests.items() if path.endswith(".safetensors")}


def started(directory: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "essence", *words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def training_children(parent: int) -> list[int]:
    """The processes that hold the lock of a student."""
    pids = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in pids if any(map(is_part, Path(f"/proc/{pid}/fd").glob("*")))]


def is_part(handle: Path) -> bool:
    try:
        return handle.readlink().name.endswith(".partial")
    except OSError:  # closed meanwhile
        return False


def wait_for(condition: Callable[[], object], *, seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.02)


def test_sweep_without_the_teacher_trains_on_hard_labels_only(here: Path) -> None:
    (teacher,) = (here / "work").glob("teacher-*")
    shutil.rmtree(teacher)
    before = made(here)
    ran = sweep("--k", "1,2", "--hard-weight", "0.5,1")
    assert ran.exit_code == 1
    assert f"{teacher.name} is not there: run 'essence teacher' first" in ran.stderr
    assert made(here) == before
    ran = sweep("--hard-weight", "1", "--device", "cuda:99")
    assert ran.exit_code == 2
    assert "device cuda:99" in ran.stderr
    assert made(here) == before
    ran = sweep("--k", "1,2", "--hard-weight", "1", "--no-evaluate")
    assert ran.exit_code == 0, ran.output
    assert len(made(here) - before) == 1
