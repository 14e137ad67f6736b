"""A corpus with its store, the students that learn from it, and the members that label it.

Shapes: T frames, F feature dims, C classes, K kept ranks.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gpu_measure import Device
from realistic_posteriors import realistic_posteriors
from store_contestants import make_about, write_store
from student import DEV_FRAMES, Clock, write_corpus

from stages.acoustic.models.settings import ArchitectureSettings
from stages.student.essence import Essence
from stages.student.settings import StudentSettings, StudentTrainingSettings
from stages.training.corpus import TrainingCorpus, open_training_corpus
from stages.training.inputs import TrainingInputs
from stages.training.objective import HardLabels, Objective
from stages.training.train import train_model
from storage.format.tiers import plan_tiers
from storage.read.reader import open_store
from storage.write.top_k import join_blocks, keep_top_k

KEPT = 32


@dataclass(frozen=True)
class Sizes:
    """Of the corpus, and of the models that learn from it."""

    num_classes: int
    num_frames: int
    repeats: int  # of the same frames, which are dear to make
    batch_frames: int
    students: tuple[ArchitectureSettings, ...]
    member: ArchitectureSettings
    num_members: int


def sizes_of(device: Device) -> Sizes:
    """Large ones for a card, toys for a test."""
    if device.is_toy:
        small = ArchitectureSettings(kind="tdnn", hidden=16, layers=2)
        return Sizes(60, 900, 1, 300, (small,), small, 2)
    return Sizes(
        num_classes=9000,
        num_frames=16_000,
        repeats=16,
        batch_frames=8192,
        students=(
            ArchitectureSettings(kind="tdnn", hidden=128, layers=5),
            ArchitectureSettings(kind="tdnn", hidden=1024, layers=10),
        ),
        member=ArchitectureSettings(kind="tdnn", hidden=768, layers=8),
        num_members=4,
    )


@contextmanager
def opened(sizes: Sizes) -> Iterator[tuple[Path, TrainingCorpus]]:
    """A corpus of random features with its store, in a temporary directory."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        rng = np.random.default_rng(1)
        lengths = np.clip(rng.lognormal(np.log(300), 0.6, sizes.num_frames), 50, 1200).astype(int)
        enough = int(np.searchsorted(np.cumsum(lengths), sizes.num_frames)) + 1
        few = lengths[:enough].tolist()
        blocks = realistic_posteriors(sum(few), sizes.num_classes, seed=1)
        kept = join_blocks([keep_top_k(block, KEPT, tiers=plan_tiers(KEPT)) for block in blocks])
        kept, many = join_blocks([kept] * sizes.repeats), few * sizes.repeats
        write_corpus(directory / "train.h5", many, kept, sizes.num_classes, rng)
        write_corpus(directory / "dev.h5", [DEV_FRAMES], kept, sizes.num_classes, rng)
        write_store(
            directory / "train.zarr", make_about(sizes.num_classes, KEPT, many, 8192), kept, many
        )
        with open_training_corpus(directory, needs_labels=True) as corpus:
            yield directory, corpus


def student_of(sizes: Sizes, architecture: ArchitectureSettings, *, k: int) -> StudentSettings:
    """k ranks; hard labels alone for k = 0."""
    return StudentSettings(
        k=max(1, k),
        hard_weight=0.5 if k else 1.0,
        architecture=architecture,
        training=StudentTrainingSettings(epochs=1, batch_frames=sizes.batch_frames),
    )


def labels_of(k: int) -> str:
    """What a student learns from, for tables."""
    return f"k = {k}" if k else "hard labels"


class DeviceClock(Clock):
    """Records the wall-clock time of each step."""

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        """Record the time; calls without frames after the first one are not steps."""
        if amount or not self.times:
            self.times.append(time.perf_counter())


def train_epoch(
    device: Device, directory: Path, corpus: TrainingCorpus, student: StudentSettings
) -> float:
    """Milliseconds of an epoch of the trainer, from its first step to its last."""
    objective: Objective = HardLabels()
    if student.hard_weight < 1:
        objective = Essence(student, open_store(directory / "train.zarr"))
    clock = DeviceClock()
    with tempfile.TemporaryDirectory() as place:
        train_model(
            TrainingInputs(
                settings=student.training,
                title="",
                architecture=student.architecture,
                objective=objective,
                corpus=corpus,
                device=device.name,
                progress=clock,
                facts={},
            ),
            directory=Path(place),
        )
    return 1e3 * (clock.times[-1] - clock.times[0])
