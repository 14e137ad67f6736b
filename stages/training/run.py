"""Run: the unchanging part of a training run, and how it stops between two steps."""

from dataclasses import dataclass
from pathlib import Path

from stages.training.checkpoint import Pace, write_checkpoint
from stages.training.corpus import TrainingCorpus
from stages.training.interrupts import Interrupt
from stages.training.objective import Objective
from stages.training.ranks import Ranks
from stages.training.settings import TrainingSettings
from stages.training.state import TrainingState
from storage.files.program import program_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that does not change while a model is trained."""

    settings: TrainingSettings
    objective: Objective
    corpus: TrainingCorpus
    directory: Path
    device: str
    fingerprint: str
    interrupt: Interrupt
    pace: Pace
    ranks: Ranks
    until: float | None = None  # of a trunk: the epochs after which it ends; parts count

    def refuse_beyond(self, state: TrainingState, num_frames: int) -> None:
        """Raise TrunkEnds if a step over `num_frames` frames would go further than `until`."""
        seen = state.position.frames_seen + num_frames
        if self.until is not None and seen > self.until * self.corpus.num_frames:
            raise TrunkEnds


class TrunkEnds(Exception):
    """The next step belongs to the decay of some length."""


class Stopped(Exception):
    """A stop was requested, and the state is one that can be saved."""


def save_checkpoint(run: Run, state: TrainingState) -> bytes:
    """Write a checkpoint, on the first rank only."""
    if run.ranks.is_first:
        position, tensors = state.capture()
        write_checkpoint(
            run.directory, position, tensors, run=run.fingerprint, program=program_digest()
        )
        run.pace.begin()
    return b"saved"


def stop_if_asked(run: Run) -> None:
    """Raise Stopped on every rank if a stop was requested on any of them."""
    if run.ranks.must_stop(is_asked=run.interrupt.is_asked):
        raise Stopped
