"""What it costs to compare a corpus file with its digests when utterances are first read.

    python benchmarks/corpus_check.py [--frames 200000]

Printed: seconds of processor time per GB of features for a first and a second read of all
utterances in random order, and for a check of the whole file; then the share of the check in the
first epoch of the student of pipeline.yaml (hard labels, one thread), where it runs once for the
whole training.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import torch

from pipeline.settings.read import read_settings
from pipeline.terminal.progress import TerminalProgress
from stages.student.train import train_student
from storage.corpus.content_check import ContentCheck, InOrder
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter

FEATURE_DIM, NUM_CLASSES, LENGTH = 120, 750, 250


def main() -> None:
    """Print figures of one run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        make_corpus(directory / "train.h5", options.frames)
        make_corpus(directory / "dev.h5", 20 * LENGTH)
        read_speed(directory / "train.h5")
        share_of_epoch(directory)


def make_corpus(path: Path, num_frames: int) -> None:
    """Utterances of LENGTH frames of noise."""
    about = CorpusAbout(
        split=path.stem,
        feature_dim=FEATURE_DIM,
        num_classes=NUM_CLASSES,
        class_inventory="1" * 64,
        frame_shift_ms=20.0,
        subsampling=2,
        has_labels=True,
        feature_settings={},
    )
    rng = np.random.default_rng(0)
    with CorpusWriter(path, about) as writer:
        for number in range(num_frames // LENGTH):
            writer.add(
                f"{path.stem}-{number}",
                speaker=f"speaker {number % 40}",
                transcript="a word",
                features_TF=rng.normal(size=(LENGTH, FEATURE_DIM)).astype(np.float32),
                labels_T=rng.integers(0, NUM_CLASSES, LENGTH),
            )


def read_speed(path: Path) -> None:
    """Print processor seconds per GB."""
    gigabytes = path.stat().st_size / 1e9
    with CorpusFile(path) as corpus:
        order = np.random.default_rng(1).permutation(len(corpus.utterances)).tolist()

        def read_all() -> None:
            for index in order:
                corpus.features(index)
                corpus.labels(index)

        first, second = cpu_seconds(read_all), cpu_seconds(read_all)
    with CorpusFile(path) as corpus:
        whole = cpu_seconds(corpus.check_content)
    print(f"{gigabytes:.2f} GB; processor seconds per GB:")
    print(f"first read {first / gigabytes:.2f}, second read {second / gigabytes:.2f}")
    print(f"check of the whole file {whole / gigabytes:.2f}")


def cpu_seconds(act: Callable[[], None]) -> float:
    """Processor time of a call."""
    begun = time.process_time()
    act()
    return time.process_time() - begun


def share_of_epoch(directory: Path) -> None:
    """Print the share of the check in the first epoch of a student."""
    spent = 0.0

    def timed(act: Callable[..., None]) -> Callable[..., None]:
        def run(*args: object, **named: object) -> None:
            nonlocal spent
            begun = time.thread_time()
            act(*args, **named)
            spent += time.thread_time() - begun

        return run

    student = read_settings(Path("pipeline.yaml")).student
    training = student.training.model_copy(update={"epochs": 1})
    settings = student.model_copy(update={"hard_weight": 1.0, "training": training})
    (directory / "student").mkdir()
    with (
        mock.patch.object(ContentCheck, "utterance", timed(ContentCheck.utterance)),
        mock.patch.object(InOrder, "add", timed(InOrder.add)),
    ):
        total = cpu_seconds(
            lambda: train_student(
                settings,
                corpus_directory=directory,
                store=None,
                directory=directory / "student",
                device="cpu",
                progress=TerminalProgress(),
            )
        )
    # `utterance` calls `add`: the dev file's checks count twice, which makes the share larger.
    print(f"first epoch {total:.1f} s, check {spent:.2f} s: {spent / total:.2%}")


if __name__ == "__main__":
    main()
