"""Makers of kills: a training run that SIGKILL hits at a step, at a file operation, or any time.

    python -m tests.support.faults.kills CORPUS_DIRECTORY DIRECTORY JOB

Everything is imported once; each run is a forked child. What a killed run leaves is gone on with,
until a run ends by itself; then the whole directory is compared with an undisturbed run's.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from stages.acoustic.models.settings import ArchitectureSettings
from stages.training.corpus import open_training_corpus
from stages.training.inputs import TrainingInputs
from stages.training.objective import HardLabels
from stages.training.train import train_model, train_trunk
from tests.support.makers.training import RecordingProgress, make_settings

FILE_EVENTS = {"open", "os.rename", "os.remove"}
MOST_KILLS = 2  # of one training: then it is left alone


def spoil(corpus_directory: Path, directory: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Run the driver in a process of its own, where torch has no threads yet."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.faults.kills",
            str(corpus_directory),
            str(directory),
            json.dumps(job),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def digests(directory: Path) -> dict[str, str]:
    """SHA-256 of every file, by its path below the directory."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_at_step(number: int) -> RecordingProgress:
    return RecordingProgress(lambda step: _die() if step == number else None)


def _die_at_file_event(number: int, directory: Path) -> None:
    """From now on, die just before the nth time a file of `directory` is touched."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in FILE_EVENTS and str(arguments[0]).startswith(str(directory)):
            count += 1
            if count == number:
                _die()

    sys.addaudithook(hook)


class Runs:
    """Trainings of one corpus with the same settings."""

    def __init__(
        self, corpus_directory: Path, settings: dict[str, Any], *, is_trunk: bool = False
    ) -> None:
        self._corpus = corpus_directory
        self._settings = make_settings(**settings)
        self._make = train_trunk if is_trunk else train_model

    def train(self, directory: Path, progress: RecordingProgress) -> None:
        """Train, or continue."""
        with open_training_corpus(self._corpus, needs_labels=True) as corpus:
            self._make(
                TrainingInputs(
                    settings=self._settings,
                    title="small",
                    architecture=ArchitectureSettings(hidden=9, layers=2, dropout=0.2),
                    objective=HardLabels(),
                    corpus=corpus,
                    device="cpu",
                    progress=progress,
                    facts={},
                ),
                directory=directory,
            )

    def fork(
        self, directory: Path, prepare: Callable[[], RecordingProgress], kill_after: float = 0.0
    ) -> bool:
        """Whether a run came to its end; False where it was killed."""
        child = os.fork()
        if child == 0:
            code = 1
            try:
                self.train(directory, prepare())
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        if kill_after:
            time.sleep(kill_after)
            os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, -signal.SIGKILL), f"the run failed by itself: {status}"
        return status == 0


def _prepare(directory: Path, kind: str, number: int) -> RecordingProgress:
    if kind == "file":
        _die_at_file_event(number, directory)
    return _die_at_step(number) if kind == "step" else RecordingProgress()


def main(corpus_directory: Path, directory: Path, job: dict[str, Any]) -> dict[str, Any]:
    """Points are (kind, number): a training is killed there, gone on with, killed there again."""
    runs = Runs(corpus_directory, job["settings"], is_trunk=job.get("is_trunk", False))
    rng = random.Random(job["seed"])
    whole = directory / "whole"
    whole.mkdir()
    assert runs.fork(whole, RecordingProgress)
    wanted = digests(whole)
    kills, differing = {}, []
    for place, (kind, number) in enumerate(job["points"]):
        part = directory / str(place)
        part.mkdir()
        count = 0
        while not runs.fork(
            part,
            partial(_prepare, part, kind if count < MOST_KILLS else "none", number),
            rng.uniform(0.02, 0.4) if kind == "time" and count < MOST_KILLS else 0.0,
        ):
            count += 1
        kills[f"{kind} {number}"] = count
        if digests(part) != wanted:
            differing.append([kind, number, digests(part)])
    return {"wanted": wanted, "kills": kills, "differing": differing}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3]))))
