"""Makers of ranks: several processes of torchrun that train small models, one job after another.

    torchrun --nproc-per-node=2 -m tests.support.makers.ranks DIRECTORY JOBS

Every rank writes what each job came to into DIRECTORY/rank-N.json.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from stages.acoustic.models.settings import ArchitectureSettings
from stages.student.ctc import EssenceCtc
from stages.student.essence import Essence
from stages.student.settings import BlankWeight, StudentSettings
from stages.training.corpus import TrainingCorpus, open_training_corpus
from stages.training.frame_loss import hard_loss
from stages.training.inputs import TrainingInputs
from stages.training.launched import joined_ranks, leave
from stages.training.objective import BatchLoss, HardLabels, Objective
from stages.training.ranks import ALONE, Ranks
from stages.training.train import train_model, train_trunk
from storage.corpus.corpus_file import NO_LABEL
from storage.errors import EssenceError
from storage.place.find_place import find_place
from storage.read.reader import open_store
from tests.support.makers.training import RecordingProgress, make_settings
from tests.support.paths import ROOT

STILL = ArchitectureSettings(hidden=9, layers=2, dropout=0.0)  # dropout differs from rank to rank


class FailsOnOne(HardLabels):
    """An objective that cannot go on at some step, on one rank."""

    def __init__(self, ranks: Ranks, job: dict[str, Any]) -> None:
        self._ranks = ranks
        self._left = job.get("fails_at", -1)
        self._rank = job.get("fails_on", 1)

    def loss(
        self, hidden_NH: Tensor, output: nn.Module, labels_N: Tensor, targets: tuple[Tensor, ...]
    ) -> BatchLoss:
        self._left -= 1
        if self._left == 0 and self._ranks.rank == self._rank:
            raise MemoryError("no room on this one")
        loss = super().loss(hidden_NH, output, labels_N, targets)
        zeros_N = labels_N.where(labels_N == 0, NO_LABEL)  # a part that not all frames have
        zero = float(hard_loss(output(hidden_NH).float().detach(), zeros_N))
        return replace(
            loss,
            parts={"hard": 0.75 * float(loss.total.detach()), "zero": zero},
            part_frames={"zero": int((zeros_N == 0).sum())},
        )


def _objective(job: dict[str, Any], corpus: TrainingCorpus, ranks: Ranks) -> Objective:
    """Of a corpus of tokens, a student's with the store that the job names."""
    if not corpus.train.has_tokens:
        return FailsOnOne(ranks, job)
    settings = StudentSettings(k=2, hard_weight=0.4, blank=BlankWeight(weight=0.25))
    essence = Essence(settings, open_store(find_place(job["store"])))
    return EssenceCtc(essence, corpus.train)


def train(job: dict[str, Any], ranks: Ranks = ALONE) -> RecordingProgress:
    """One training, as the job says: settings, corpus, directory; where it stops or fails."""

    def at(step: int) -> None:
        if step == job.get("stops_at") and ranks.rank == job.get("stops_on", 0):
            signal.raise_signal(signal.SIGINT)

    progress = RecordingProgress(at)
    Path(job["directory"]).mkdir(exist_ok=True)
    with open_training_corpus(Path(job["corpus"]), needs_labels=True) as corpus:
        make = train_trunk if job.get("is_trunk") else train_model
        make(
            TrainingInputs(
                settings=make_settings(**job["settings"]),
                title="small",
                architecture=STILL,
                objective=_objective(job, corpus, ranks),
                corpus=corpus,
                device="cpu",
                progress=progress,
                facts={},
                ranks=ranks,
            ),
            directory=Path(job["directory"]),
            start=Path(job["start"]) if "start" in job else None,
        )
    return progress


def _outcome(job: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    try:
        with ranks.guarded():
            return {"losses": train(job, ranks).losses}
    except (KeyboardInterrupt, EssenceError, MemoryError) as error:
        return {"error": type(error).__name__, "message": str(error)}


def main(directory: Path, jobs: list[dict[str, Any]]) -> None:
    with joined_ranks() as ranks:
        outcomes = [_outcome(job, ranks) for job in jobs]
    (directory / f"rank-{ranks.rank}.json").write_text(json.dumps(outcomes))
    leave(0)


def torchrun(
    size: int, *words: str, cwd: Path | None = None, seconds: float = 150
) -> subprocess.CompletedProcess[str]:
    """Run a script, or `-m` a module, in `size` processes."""
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={size}", *words],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def train_together(
    size: int, directory: Path, jobs: list[dict[str, Any]]
) -> list[list[dict[str, Any]]]:
    """What every rank says of every job."""
    done = torchrun(size, "-m", "tests.support.makers.ranks", str(directory), json.dumps(jobs))
    assert done.returncode == 0, done.stderr
    return [json.loads((directory / f"rank-{rank}.json").read_text()) for rank in range(size)]


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
