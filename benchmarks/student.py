"""The student: an epoch relative to one on hard labels, its loader relative to a memory map.

    python benchmarks/student.py [--classes 750,3000,9000] [--frames 24000] [--k 1,8,32]
                                 [--rounds 7] [--threads 2]

Epochs are the trainer's own (`train_model`: reading ahead, model, loss, backward, AdamW), timed
from the first step to the last: the student of pipeline.yaml on one synthetic corpus with its
store. The epoch on hard labels is that student with hard_weight 1. `loader` is everything that an
epoch reads, without a model: features and hard labels from the corpus file, soft labels from the
store, relative to the same with soft labels from a memory map of uint16 ids and float16
log-probabilities; `soft labels` is the last part of it alone. `--threads 2` adds an epoch on hard
labels on two threads.

Time is processor time of all threads. Each round runs everything once, in a new order, and a
ratio is taken within its round. Printed: median (lowest-highest).

Shapes: T frames, N frames of a batch, F feature dims, C classes, K kept ranks.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from realistic_posteriors import realistic_posteriors
from side_by_side import machine
from store_contestants import Memmap, make_about, write_store
from torch import Tensor

from pipeline.settings.read import read_settings
from stages.student.codes import decode
from stages.student.essence import Essence
from stages.student.settings import StudentSettings
from stages.training.batches import Batch, plan_batches, read_batch
from stages.training.corpus import TrainingCorpus, open_training_corpus
from stages.training.inputs import TrainingInputs
from stages.training.objective import HardLabels, Objective
from stages.training.train import train_model
from storage.corpus.corpus_file import CorpusAbout
from storage.corpus.corpus_writer import CorpusWriter
from storage.format.tiers import plan_tiers
from storage.read.reader import open_store
from storage.write.top_k import KeptBlock, join_blocks, keep_top_k

KEPT = 32
FEATURE_DIM = 120  # of the spoken corpus: 40 filters, spliced with a neighbour on each side
DEV_FRAMES = 300  # evaluated after the epoch, not timed
INVENTORY = "0" * 64

Act = Callable[[], float]  # returns seconds of processor time


def main() -> None:
    """Print one table for each number of classes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", default="750,3000,9000")
    parser.add_argument("--frames", type=int, default=24_000)
    parser.add_argument("--k", default="1,8,32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="above 1: adds an epoch")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}, torch {torch.__version__}; {options.rounds} rounds")
    for num_classes in map(int, options.classes.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            measured = make_measured(Path(scratch), num_classes, options.frames)
            with open_training_corpus(measured.directory, needs_labels=True) as corpus:
                ks = [int(k) for k in options.k.split(",")]
                print(f"\nC = {num_classes}, {corpus.num_frames} frames\n")
                report(measured, corpus, ks, rounds=options.rounds, threads=options.threads)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A corpus, its store, and the store's memory-mapped copy, all of the same frames."""

    directory: Path
    memmap: Memmap
    tail_T: NDArray[np.float16]
    first_frames: dict[str, int]


def make_measured(directory: Path, num_classes: int, num_frames: int) -> Measured:
    """Utterances of 1 to 12 seconds at 20 ms, random features, realistic posteriors."""
    rng = np.random.default_rng(1)
    lengths = np.clip(rng.lognormal(np.log(180), 0.6, num_frames), 50, 600).astype(int)
    lengths = lengths[: int(np.searchsorted(np.cumsum(lengths), num_frames)) + 1].tolist()
    blocks = realistic_posteriors(sum(lengths), num_classes, seed=1)
    kept = join_blocks([keep_top_k(block, KEPT, tiers=plan_tiers(KEPT)) for block in blocks])
    write_corpus(directory / "train.h5", lengths, kept, num_classes, rng)
    write_corpus(directory / "dev.h5", [DEV_FRAMES], kept, num_classes, rng)
    about = make_about(num_classes, KEPT, lengths, 8192)
    write_store(directory / "train.zarr", about, kept, lengths)
    starts = np.cumsum([0, *lengths]).tolist()
    return Measured(
        directory=directory,
        memmap=Memmap.write(directory, kept),
        tail_T=kept.tail_TG[:, -1].astype(np.float16),
        first_frames={f"u{index}": start for index, start in enumerate(starts[:-1])},
    )


def write_corpus(
    path: Path,
    lengths: Sequence[int],
    kept: KeptBlock,
    num_classes: int,
    rng: np.random.Generator,
) -> None:
    """Write a split whose hard labels are the teacher's most probable classes."""
    about = CorpusAbout(
        split=path.stem,
        feature_dim=FEATURE_DIM,
        num_classes=num_classes,
        class_inventory=INVENTORY,
        frame_shift_ms=20.0,
        subsampling=2,
        has_labels=True,
        feature_settings={},
    )
    with CorpusWriter(path, about) as writer:
        for index, (start, stop) in enumerate(pairwise(np.cumsum([0, *lengths]).tolist())):
            writer.add(
                f"u{index}",
                speaker="s",
                transcript="",
                features_TF=rng.normal(size=(stop - start, FEATURE_DIM)).astype(np.float32),
                labels_T=kept.ids_TK[start:stop, 0].astype(np.int32),
            )


def report(
    measured: Measured, corpus: TrainingCorpus, ks: Sequence[int], *, rounds: int, threads: int
) -> None:
    """Measure everything in turns; print each group relative to its first line."""
    student = read_settings(Path("pipeline.yaml")).student
    hard = student.model_copy(update={"hard_weight": 1.0})
    groups: dict[str, dict[str, Act]] = {
        "epoch": {"hard labels": partial(epoch, measured, corpus, hard)}
    }
    for k in ks:
        soft = student.model_copy(update={"k": k, "hard_weight": 0.5})
        groups["epoch"][f"k = {k}"] = partial(epoch, measured, corpus, soft)
        essence = Essence(soft, open_store(measured.directory / "train.zarr"))
        copied = partial(from_memmap, measured, k)
        for name, with_features in (("loader", True), ("soft labels", False)):
            groups[f"{name}, k = {k}"] = {
                "memory map": partial(load, corpus, student, copied, with_features),
                "store": partial(load, corpus, student, partial(usable, essence), with_features),
            }
    if threads > 1:
        groups["epoch"][f"hard labels, {threads} threads"] = partial(
            epoch, measured, corpus, hard, threads=threads
        )
    seconds = measure(groups, rounds=rounds)
    print("| what | ms | times the first |\n|---|---|---|")
    for group, acts in groups.items():
        first = seconds[group, next(iter(acts))]
        for name in acts:
            ratios = [a / b for a, b in zip(seconds[group, name], first, strict=True)]
            middle = 1e3 * statistics.median(seconds[group, name])
            spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f}-{max(ratios):.3f})"
            print(f"| {group}: {name} | {middle:.1f} | {spread} |", flush=True)


def measure(
    groups: dict[str, dict[str, Act]], *, rounds: int
) -> dict[tuple[str, str], list[float]]:
    """Seconds of each in each round, after one round of warm-up."""
    acts = {(group, name): act for group, of in groups.items() for name, act in of.items()}
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in acts}
    rng = np.random.default_rng(3)
    for round_ in range(rounds + 1):
        for index in rng.permutation(len(acts)):
            key = list(acts)[index]
            took = acts[key]()
            if round_:
                seconds[key].append(took)
    return seconds


class Clock:
    """A progress that records the processor time at each step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator["Clock"]:
        """The one task of a training run."""
        yield self

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        """Record the time; calls without frames after the first one are not steps."""
        if amount or not self.times:
            self.times.append(time.process_time())

    def note(self, text: str) -> None:
        """Ignore the text."""


def epoch(
    measured: Measured, corpus: TrainingCorpus, student: StudentSettings, *, threads: int = 1
) -> float:
    """Train this student for one epoch."""
    objective: Objective = HardLabels()
    if student.hard_weight < 1:
        objective = Essence(student, open_store(measured.directory / "train.zarr"))
    clock = Clock()
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as directory:
        train_model(
            TrainingInputs(
                settings=student.training.model_copy(update={"epochs": 1}),
                title="",
                architecture=student.architecture,
                objective=objective,
                corpus=corpus,
                device="cpu",
                progress=clock,
                facts={},
            ),
            directory=Path(directory),
        )
    torch.set_num_threads(1)
    return clock.times[-1] - clock.times[0]


Read = Callable[[Batch], tuple[Tensor, ...]]


def load(
    corpus: TrainingCorpus, student: StudentSettings, read: Read, with_features: bool
) -> float:
    """Read all batches of an epoch, with their features or after these have been read."""
    training = student.training
    pieces = corpus.pieces(training.chunk_frames)
    plan = plan_batches([piece.num_frames for piece in pieces], training.batch_frames, 0, 0)
    chosen = [[pieces[i] for i in batch] for batch in plan]
    if with_features:
        begun = time.process_time()
        for batch in chosen:
            read(read_batch(corpus.train, batch))
        return time.process_time() - begun
    batches = [read_batch(corpus.train, batch) for batch in chosen]
    begun = time.process_time()
    for ready in batches:
        read(ready)
    return time.process_time() - begun


def usable(essence: Essence, batch: Batch) -> tuple[Tensor, ...]:
    """The loss's inputs from the store: ids int64, log-probabilities float32, tail."""
    ids_NK, codes_NK, tail_N = essence.read(batch)
    return ids_NK.long(), decode(codes_NK), tail_N


def from_memmap(measured: Measured, k: int, batch: Batch) -> tuple[Tensor, ...]:
    """The same from the memory map."""
    spans = []
    for id, piece in zip(batch.ids, batch.pieces, strict=True):
        start = measured.first_frames[id] + piece.start
        spans.append((start, start + piece.num_frames))
    ids_NK = np.concatenate([measured.memmap.ids_TK[a:b, :k] for a, b in spans])
    logp_NK = np.concatenate([measured.memmap.logp_TK[a:b, :k] for a, b in spans])
    tail_N = np.concatenate([measured.tail_T[a:b] for a, b in spans])
    return (
        torch.from_numpy(ids_NK.astype(np.int64)),
        torch.from_numpy(logp_NK.astype(np.float32)),
        torch.from_numpy(tail_N.astype(np.float32)),
    )


if __name__ == "__main__":
    main()
