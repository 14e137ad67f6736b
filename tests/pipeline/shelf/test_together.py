"""torchrun: only student and ensemble run under it; every message is printed once."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.settings.read import read_settings
from pipeline.shelf.freshness import Shelf
from pipeline.shelf.recipes import Recipes
from tests.support.makers.pipeline import essence
from tests.support.makers.ranks import environment, torchrun
from tests.support.makers.report import make_corpus_summary
from tests.support.makers.training import make_corpus_directory
from tests.support.paths import DOCS

TRAINING = {"epochs": 2, "batch_frames": 61, "learning_rate": 0.02}
ARCHITECTURE = {"hidden": 9, "layers": 2, "dropout": 0.0}
SETTINGS = {
    "ensemble": {"members": [{"name": "m", "architecture": ARCHITECTURE, "training": TRAINING}]},
    "student": {"hard_weight": 1.0, "architecture": ARCHITECTURE, "training": TRAINING},
}
NEW = ("metrics.jsonl", "model.json", "model.safetensors", "README.md")


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory that has a corpus under the name of the synthesised one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(yaml.safe_dump(SETTINGS))
    shelf = Shelf(Path("work"))
    shelf.make(Recipes(read_settings(None), shelf).corpus, _make_corpus)
    return tmp_path


def _make_corpus(*, directory: Path) -> None:
    make_corpus_directory(directory)
    summary = make_corpus_summary().model_dump_json()
    (directory / "summary.json").write_text(summary, encoding="utf-8")


def _made(house: Path, stage: str) -> list[Path]:
    return sorted((house / "work").glob(f"{stage}-*"))


def test_student_under_torchrun_is_trained_and_printed_once(house: Path) -> None:
    done = torchrun(2, "-m", "essence", "student", cwd=house)
    assert done.returncode == 0, done.stderr
    (student,) = _made(house, "student")
    assert done.stdout == f"{student.relative_to(house)}\n"
    assert done.stderr.count("2 ranks") == 1
    files = {path.name for path in student.iterdir()}
    assert files == {*NEW, "files.sha256", "made.json"}
    again = essence(house, "student")
    assert "fresh" in again.stderr  # with one rank it is the same student


def begin_late(house: Path, rank: int) -> str:
    """A script that runs the command line, on one rank three seconds later."""
    script = house / "late.py"
    script.write_text(
        "import os, time\n"
        "from essence.__main__ import main\n"
        f"time.sleep(3 * (os.environ['RANK'] == '{rank}'))\n"
        "main()\n"
    )
    return str(script)


@pytest.mark.parametrize("late", [0, 1])
def test_message_is_printed_once_whichever_rank_is_late(house: Path, late: int) -> None:
    """torchrun ends all ranks when one has ended, also one that has not printed yet."""
    done = torchrun(2, begin_late(house, late), "status", cwd=house)
    assert done.returncode != 0
    assert done.stderr.count("only student and ensemble run under torchrun") == 1


def test_message_of_another_rank_is_printed_if_the_first_does_not_end(house: Path) -> None:
    script = house / "alone.py"
    script.write_text(
        "import os, time\n"
        "from pipeline.terminal import exit\n"
        "exit.FIRST_RANK_SECONDS = 1.0\n"
        "if os.environ['RANK'] == '0':\n"
        "    time.sleep(60)\n"
        "exit.fail('no room here', code=1)\n"
    )
    done = torchrun(2, str(script), cwd=house, seconds=60)
    assert done.stderr.count("essence: rank 1: no room here") == 1


def test_other_commands_under_torchrun_are_refused(house: Path) -> None:
    done = torchrun(2, "-m", "essence", "status", cwd=house)
    assert done.returncode != 0
    assert done.stderr.count("only student and ensemble run under torchrun") == 1
    assert "click" not in done.stderr


def test_error_on_the_first_rank_is_printed_once_and_ends_all(house: Path) -> None:
    (corpus,) = _made(house, "corpus")
    (corpus / "dev.h5").write_bytes(b"no corpus file")
    done = torchrun(2, "-m", "essence", "ensemble", cwd=house, seconds=60)
    assert done.returncode != 0
    assert done.stderr.count("essence: ") == 1
    assert "dev.h5" in done.stderr
    assert "site-packages/pipeline" not in done.stderr


def test_custom_architecture_of_the_document_can_be_trained(house: Path) -> None:
    page = DOCS / "training.md"
    (house / "my_models.py").write_text(
        page.read_text("utf-8").split("```python\n")[1].split("```")[0]
    )
    own = "student.architecture={kind: 'my_models:Window', width: 9}"
    done = essence(house, "student", "--set", own)
    assert done.returncode == 0, done.stderr
    (student,) = _made(house, "student")
    assert "my_models:Window" in (student / "model.json").read_text()


@pytest.mark.slow
def test_killed_rank_ends_the_others_and_the_run_resumes(house: Path) -> None:
    change = ["--set", "student.training.epochs=300", "--set", "student.training.patience=300"]
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "essence", "student"]
    with subprocess.Popen(
        [sys.executable, *command, *change],
        cwd=house,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        _wait_for(house, "metrics.jsonl")
        (second,) = [pid for pid in _children(run.pid) if _rank(pid) == "1"]
        os.kill(second, signal.SIGKILL)
        _, errors = run.communicate(timeout=60)
    assert run.returncode != 0
    assert "rank" in errors
    (part,) = _made(house, "student")
    assert (part / "checkpoint.json").is_file()
    change[1] = "student.training.epochs=300"
    with subprocess.Popen(
        [sys.executable, *command, *change],
        cwd=house,
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        epochs = len((part / "metrics.jsonl").read_text().splitlines())
        _wait_for(house, "metrics.jsonl", more_than=epochs)
        os.kill(run.pid, signal.SIGINT)  # torchrun passes it on
        _, errors = run.communicate(timeout=60)
    assert "goes on at epoch" in errors
    assert errors.count("stopped; the same command goes on") == 1
    assert (part / "checkpoint.json").is_file()


def _wait_for(house: Path, name: str, *, more_than: int = 0, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = list((house / "work").glob(f"student-*/{name}"))
        if found and len(found[0].read_text().splitlines()) > more_than:
            return
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in listed.split()]


def _rank(pid: int) -> str:
    variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((v[5:].decode() for v in variables if v.startswith(b"RANK=")), "")
