"""A command that is stopped or killed leaves no process; SIGTERM and SIGHUP stop it as Ctrl-C does.

Real commands, started as from a terminal, in sessions of their own.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.makers.kaldi import make_kaldi_directory
from tests.support.makers.pipeline import TINY, essence
from tests.support.paths import ROOT

GONE_SECONDS = 10.0  # within which all processes must have ended
AT_WORK_SECONDS = 0.5  # of processor time that a child has used when the parent is hit
LONG = {"epochs": 3000, "patience": 3000, "batch_frames": 300}
NAMES = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "HUP": signal.SIGHUP}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpus, members and teacher; students and decoding that take minutes."""
    here = tmp_path_factory.mktemp("house")
    data = make_kaldi_directory(here / "data", sentences=1200)
    member = {
        "name": "one",
        "architecture": {"kind": "tdnn", "hidden": 16, "layers": 1},
        "training": {"epochs": 1, "batch_frames": 700},
    }
    scales = [0.02 * number for number in range(1, 60)]
    settings = TINY | {
        "corpus": {"source": "kaldi", "path": str(data), "features": {"subsample": 1}},
        "ensemble": {"members": [member]},
        "teacher": {"kept": 5, "shard_frames": 32, "chunk_frames": 32},
        "student": {"k": 3, "architecture": member["architecture"], "training": LONG},
        "compare": [],
        "evaluate": {"processes": 2, "beam": 200.0, "max_active": 9000, "acoustic_scales": scales},
    }
    (here / "pipeline.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    for command in ("corpus", "ensemble"):
        done = essence(here, command)
        assert done.returncode == 0, done.stderr
    return here


@contextmanager
def started(here: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """The command, running in a session of its own; whatever is left of it is killed."""
    shutil.rmtree(here / "tmp", ignore_errors=True)
    for left in here.glob("work/*.partial"):  # of a test that failed
        shutil.rmtree(left)
    (here / "tmp").mkdir()
    command = subprocess.Popen(
        [sys.executable, "-m", "essence", *words],
        cwd=here,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(here / "tmp")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield command
    finally:
        for process in _session(command.pid):
            with suppress(psutil.Error):
                process.kill()
        command.communicate()


def _session(leader: int) -> list[psutil.Process]:
    """All processes of a session, also of other process groups; zombies have ended."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def wait_for(command: subprocess.Popen[str], what: str, number: int, here: Path) -> None:
    """Wait until that many files match, or, for "children", that many have computed a little."""
    end = time.monotonic() + 120
    while _num_at_work(command) < number if what == "children" else _num(here, what) < number:
        assert command.poll() is None, command.communicate()[1]
        assert time.monotonic() < end, f"{number} {what} were expected"
        time.sleep(0.02)


def _num(here: Path, pattern: str) -> int:
    return len(list(here.glob(pattern)))


def _num_at_work(command: subprocess.Popen[str]) -> int:
    seconds = []
    for process in _session(command.pid):
        with suppress(psutil.Error):
            seconds.append(process.cpu_times().user if process.pid != command.pid else 0.0)
    return sum(used > AT_WORK_SECONDS for used in seconds)


def assert_gone(leader: int) -> None:
    end = time.monotonic() + GONE_SECONDS
    while left := _session(leader):
        assert time.monotonic() < end, [process.cmdline() for process in left]
        time.sleep(0.05)


HARD = ("--set", "student.hard_weight=1")
TRAINING = "work/student-*.partial/metrics.jsonl"
MEMBERS = "work/member-*.partial/metrics.jsonl"
TWO = [
    {
        "name": f"long-{seed}",
        "architecture": {"kind": "tdnn", "hidden": 16, "layers": 1},
        "training": LONG | {"seed": seed},
    }
    for seed in (5, 6)
]
COMMANDS = {  # the words, and what shows that the children are at work
    "ensemble": (["ensemble", "--jobs", "2", "--set", f"ensemble.members={TWO}"], MEMBERS, 2),
    "evaluate": (["evaluate"], "children", 2),
    "sweep": (["sweep", "--jobs", "2", "--no-evaluate", *HARD, "--seeds", "2"], TRAINING, 2),
    "teacher": (["teacher", "--workers", "2"], "work/teacher-*.partial/train.zarr/commits/*", 2),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_process_outlives_a_killed_command(house: Path, name: str) -> None:
    """RELIABILITY 34: SIGKILL of the command alone, while its children work."""
    words, *sign = COMMANDS[name]
    with started(house, *words) as command:
        wait_for(command, *sign, house)
        assert len(_session(command.pid)) >= 3
        command.kill()
        command.wait()
        assert_gone(command.pid)
    for left in house.glob("work/*.partial"):
        shutil.rmtree(left)


# A sweep ends in seconds when this runs alone; once, next to the whole suite on two busy cores, it
# had not ended after 60 s. That is not understood yet: the case runs with -m slow.
@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("evaluate", "TERM"),
        ("teacher", "TERM"),
        ("ensemble", "TERM"),
        pytest.param("sweep", "HUP", marks=pytest.mark.slow),
    ],
)
def test_terminated_command_ends_as_on_ctrl_c(house: Path, name: str, sent: str) -> None:
    """RELIABILITY 34: the exit code names the signal; no process, no temporary folder is left."""
    words, *sign = COMMANDS[name]
    with started(house, *words) as command:
        wait_for(command, *sign, house)
        command.send_signal(NAMES[sent])
        _, errors = command.communicate(timeout=60)
        assert command.returncode == 128 + NAMES[sent], errors
        assert "essence: stopped; the same command goes on where this one was" in errors
        assert "Traceback" not in errors
        assert_gone(command.pid)
    if name in ("ensemble", "sweep"):  # each model goes on from here
        assert len(list(house.glob("work/*.partial/checkpoint.json"))) == 2
    assert not [path for path in (house / "tmp").iterdir() if not path.name.startswith("torch")]
    for left in house.glob("work/*.partial"):
        shutil.rmtree(left)


def signalled(house: Path, numbers: Sequence[int]) -> tuple[int, str]:
    """Exit code and stderr of a student that gets these signals while it trains."""
    with started(house, "student", *HARD) as command:
        wait_for(command, TRAINING, 1, house)
        for number in numbers:
            command.send_signal(number)
            time.sleep(0.05)
        _, errors = command.communicate(timeout=60)
    return command.returncode, errors


def test_first_signal_is_answered_at_once_and_the_student_keeps_a_checkpoint(house: Path) -> None:
    """RELIABILITY 34: a step may take minutes; the user must see that the signal has come."""
    code, errors = signalled(house, [signal.SIGTERM])
    assert code == 143
    assert errors.index("stopping after this step") < errors.index("essence: stopped")
    assert list(house.glob("work/student-*.partial/checkpoint.json"))


def test_many_interrupts_end_the_command_without_a_traceback(house: Path) -> None:
    """RELIABILITY 34: a user who presses Ctrl-C again and again wants to see no code."""
    code, errors = signalled(house, [signal.SIGINT] * 4)
    assert code in (130, -signal.SIGINT)
    assert "Traceback" not in errors
    assert "KeyboardInterrupt" not in errors
