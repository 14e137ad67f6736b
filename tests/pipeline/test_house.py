"""The whole pipeline on synthesised speech, through the command line."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.makers.pipeline import ROOT, essence, tree_digests, write_tiny

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")

RESULTS = ("evaluation-", "frames-", "report-")


def made(work: Path) -> set[str]:
    return {path.name for path in work.iterdir() if path.is_dir() and not path.is_symlink()}


def stages_of(names: set[str]) -> list[str]:
    return sorted(name.partition("-")[0] for name in names)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which `essence run` has run once."""
    directory = tmp_path_factory.mktemp("house")
    write_tiny(directory)
    ran = essence(directory, "run")
    assert ran.returncode == 0, ran.stderr
    (directory / "table.txt").write_text(ran.stdout, encoding="utf-8")
    return directory


def test_run_goes_from_speech_to_a_table_and_a_page(house: Path) -> None:
    table = (house / "table.txt").read_text()
    for system in ("wide", "deep", "ensemble", "hard labels", "k=1", "k=5"):
        assert any(line.startswith(system + " ") for line in table.splitlines()), table
    page = (house / "work" / "report" / "index.html").read_text(encoding="utf-8")
    assert "hard labels" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert not [name for name in made(house / "work") if name.endswith(".partial")]


def test_second_run_changes_nothing_and_notes_that_all_is_fresh(house: Path) -> None:
    before = tree_digests(house / "work")
    again = essence(house, "run")
    assert again.returncode == 0, again.stderr
    assert tree_digests(house / "work") == before
    assert again.stdout == (house / "table.txt").read_text()
    notes = again.stderr.splitlines()
    assert notes
    assert all(": fresh (" in note for note in notes), again.stderr


def test_results_made_twice_have_the_same_bytes(house: Path, tmp_path: Path) -> None:
    """RELIABILITY 40: of the same models, evaluations, frames and the page."""
    again = shutil.copytree(house, tmp_path / "house", symlinks=True)
    (again / "work" / "report").unlink()
    results = [p for p in (again / "work").iterdir() if p.name.startswith(RESULTS)]
    assert {place.name.partition("-")[0] + "-" for place in results} == set(RESULTS)
    for place in results:
        shutil.rmtree(place)
    ran = essence(again, "report")
    assert ran.returncode == 0, ran.stderr
    found, wanted = (tree_digests(place / "work") for place in (again, house))
    clocked = {path for path in found if path.endswith("/speed.json")}
    assert len(clocked) == 6  # one for each system
    assert {path: digest for path, digest in found.items() if path not in clocked} == {
        path: digest for path, digest in wanted.items() if path not in clocked
    }


def test_another_k_makes_nothing_above_the_student(house: Path) -> None:
    before = made(house / "work")
    ran = essence(house, "run", "--set", "student.k=3", "--set", "compare=[{hard_weight: 1.0}]")
    assert ran.returncode == 0, ran.stderr
    assert stages_of(made(house / "work") - before) == ["evaluation", "frames", "report", "student"]
    assert "k=3" in ran.stdout
    assert "k=5" in ran.stdout  # every student that is here is in the table


def test_student_is_trained_and_evaluated_without_the_ensemble(house: Path) -> None:
    for member in (house / "work").glob("member-*"):
        shutil.rmtree(member)
    student = essence(house, "student", "--set", "student.k=2")
    assert student.returncode == 0, student.stderr
    ran = essence(house, "run", "--set", "student.k=2")
    assert ran.returncode == 0, ran.stderr
    assert not list((house / "work").glob("member-*"))
    assert "ensemble" in ran.stdout  # its results were kept
    assert "k=2" in ran.stdout


def test_k_above_those_stored_is_refused_at_once(house: Path) -> None:
    ran = essence(house, "student", "--set", "student.k=9")
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert "K=8" in line
    assert "k=9" in line
    assert "Traceback" not in ran.stderr


def test_stage_without_its_input_names_the_command_to_run(house: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    ran = essence(tmp_path, "student")
    assert ran.returncode == 1
    assert "run 'essence corpus' first" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_status_changes_nothing(house: Path) -> None:
    before = tree_digests(house / "work")
    ran = essence(house, "status", "--set", "student.k=7")
    assert ran.returncode == 0, ran.stderr
    assert "to do" in ran.stdout
    assert "fresh" in ran.stdout
    assert tree_digests(house / "work") == before


def test_pipeline_with_the_same_seeds_gives_the_same_bytes(house: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path)
    only = ["--set", "compare=[]", "--set", "student.k=5"]
    ran = essence(tmp_path, "run", *only)
    assert ran.returncode == 0, ran.stderr
    first, second = tree_digests(house / "work"), tree_digests(tmp_path / "work")
    stages = ("corpus-", "teacher-", "student-", "graph-")
    second = {path: digest for path, digest in second.items() if path.startswith(stages)}
    assert second
    assert {path: first.get(path) for path in second} == second


def test_interrupted_command_resumes(tmp_path: Path, house: Path) -> None:
    write_tiny(tmp_path)
    (corpus,) = (house / "work").glob("corpus-*")
    shutil.copytree(corpus, tmp_path / "work" / corpus.name)
    command = [sys.executable, "-m", "essence", "ensemble"]
    long = ["--jobs", "1", "--set", "ensemble.members.0.training.epochs=200"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*command, *long], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    ) as run:
        wait_for(lambda: list((tmp_path / "work").glob("member-*.partial/metrics.jsonl")))
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    assert "goes on where this one was" in errors
    assert "Traceback" not in errors
    (part,) = (tmp_path / "work").glob("member-*.partial")
    done = len((part / "metrics.jsonl").read_text().splitlines())
    assert 1 <= done < 200


def wait_for(condition: object, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.05)
