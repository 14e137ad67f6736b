"""Makers for training: small corpora whose classes a small model can learn, small models."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from stages.acoustic.models.architectures import AcousticModel, build_model
from stages.acoustic.models.settings import ArchitectureSettings
from stages.student.settings import StudentTrainingSettings
from storage.corpus.corpus_file import NO_LABEL, CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.format.layout import StoreAbout
from tests.support.makers.store import make_about

FEATURE_DIM = 7
NUM_CLASSES = 5
INVENTORY = "an inventory of five classes"
LENGTHS = (31, 0, 17, 44, 23, 1, 38, 29)


def make_corpus_about(split: str, *, num_classes: int = NUM_CLASSES) -> CorpusAbout:
    """What holds for every utterance of a made split."""
    return CorpusAbout(
        split=split,
        feature_dim=FEATURE_DIM,
        num_classes=num_classes,
        class_inventory=INVENTORY,
        frame_shift_ms=10.0,
        subsampling=1,
        has_labels=True,
        feature_settings={},
    )


def make_about_of(
    corpus: CorpusFile, *, kept: int, shard_frames: int = 99, chunk_frames: int = 11
) -> StoreAbout:
    """Of a store of this corpus, in which each frame is a row."""
    return make_about(
        corpus_fingerprint=corpus.fingerprint,
        class_inventory=INVENTORY,
        num_classes=NUM_CLASSES,
        kept=kept,
        shard_frames=shard_frames,
        chunk_frames=chunk_frames,
        frame_shift_ms=10.0,
        subsampling=1,
    )


def make_corpus(
    path: Path,
    *,
    lengths: tuple[int, ...] = LENGTHS,
    seed: int = 0,
    noise: float = 0.3,
    num_classes: int = NUM_CLASSES,
    unlabelled_frames: int = 0,
    huge: tuple[int, ...] = (),
) -> Path:
    """A split of noisy centroids; the centroids are the same whatever the seed.

    Features of the utterances `huge` are near the end of float32: models make NaN of them.
    """
    centroids = np.random.default_rng(99).normal(size=(num_classes, FEATURE_DIM)) * 3 + 5
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    with CorpusWriter(path, make_corpus_about(path.stem, num_classes=num_classes)) as writer:
        for number, length in enumerate(lengths):
            labels = np.repeat(rng.integers(num_classes, size=length // 3 + 1), 3)[:length]
            features = centroids[labels] + noise * rng.normal(size=(length, FEATURE_DIM))
            labels[:unlabelled_frames] = NO_LABEL
            if number in huge:
                features[3] = 3e38
            writer.add(
                f"{path.stem}-{number}",
                speaker=f"speaker {number % 3}",
                transcript="a word",
                features_TF=features.astype(np.float32),
                labels_T=labels,
            )
    return path


def make_corpus_directory(directory: Path) -> Path:
    """train.h5 and dev.h5, drawn differently from the same classes."""
    make_corpus(directory / "train.h5", lengths=LENGTHS * 3, seed=1)
    make_corpus(directory / "dev.h5", seed=2)
    return directory


def make_model(
    kind: str = "tdnn", *, hidden: int = 11, layers: int = 2, dropout: float = 0.1, seed: int = 3
) -> AcousticModel:
    """A small model with weights drawn from `seed`."""
    settings = ArchitectureSettings.model_validate(
        {"kind": kind, "hidden": hidden, "layers": layers, "dropout": dropout}
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(settings, FEATURE_DIM, NUM_CLASSES)


def make_settings(**changes: object) -> StudentTrainingSettings:
    """A short training run, of a student or a member; odd sizes."""
    settings = {"epochs": 5, "batch_frames": 61, "learning_rate": 0.02, "seed": 5, **changes}
    return StudentTrainingSettings.model_validate(settings)


class RecordingProgress:
    """Keeps every loss that a task showed, and calls `at` with their number: a place to stop."""

    def __init__(self, at: Callable[[int], None] = lambda _: None) -> None:
        self.losses: list[float] = []
        self.notes: list[str] = []
        self.total = 0.0
        self.done = 0.0
        self._at = at

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator["RecordingProgress"]:
        self.total, self.done = total, 0.0
        yield self

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        self.done += amount
        if "loss" in facts:
            self.losses.append(float(str(facts["loss"])))
            self._at(len(self.losses))

    def note(self, text: str) -> None:
        self.notes.append(text)


def ctrl_c_at(count: int) -> RecordingProgress:
    """A progress that sends Ctrl-C after so many steps."""

    def stop(number: int) -> None:
        if number == count:
            signal.raise_signal(signal.SIGINT)

    return RecordingProgress(stop)
