"""A store on a slow disk: the time that reading ahead hides, and the reads that blocks save.

    python benchmarks/slow_disk.py [--milliseconds 5] [--frames 400000] [--step 40]

Each read of the store takes `--milliseconds` longer (as on a network or a rotating disk). The
cache holds a third of what the epoch decompresses, as if the corpus were larger than memory. A
step is a pause of `--step` milliseconds: it stands for a model, and other load does not distort
it. Printed for each order: the number of reads of an epoch, its seconds with reads in the same
thread, its seconds with reading ahead, and the seconds of its steps alone.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from student import make_measured

from pipeline.settings.read import read_settings
from stages.student.essence import Essence
from stages.training.batches import Piece, plan_batches, read_ahead, read_batch
from stages.training.corpus import TrainingCorpus, open_training_corpus
from storage.place.object_handles import ObjectHandles
from storage.read.reader import open_store

NUM_CLASSES = 750
BLOCK_FRAMES = 8192  # the store's chunks
BYTES_A_FRAME = 25  # of 8 ranks, decompressed


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--milliseconds", type=float, default=5.0)
    parser.add_argument("--frames", type=int, default=400_000)
    parser.add_argument("--step", type=float, default=40.0, help="milliseconds of a step")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        directory = make_measured(Path(scratch), NUM_CLASSES, options.frames).directory
        with open_training_corpus(directory, needs_labels=True) as corpus:
            print(f"{corpus.num_frames} frames, k = 8, {options.milliseconds:g} ms a read\n")
            print("| order | reads | in one thread | read ahead | steps alone |")
            print("|---|---|---|---|---|")
            for name, block_frames in (("all shuffled", 0), ("blocks", BLOCK_FRAMES)):
                row = measure(corpus, block_frames, options.milliseconds, options.step)
                print(f"| {name} | {row[0]} | {row[1]:.1f} s | {row[2]:.1f} s | {row[3]:.1f} s |")


def measure(
    corpus: TrainingCorpus, block_frames: int, milliseconds: float, step: float
) -> tuple[int, float, float, float]:
    """Number of reads; seconds in one thread, with reading ahead, and of the steps alone."""
    student = read_settings(Path("pipeline.yaml")).student
    pieces = corpus.pieces(student.training.chunk_frames)
    lengths = [piece.num_frames for piece in pieces]
    plan = plan_batches(
        lengths, student.training.batch_frames, seed=0, epoch=0, block_frames=block_frames
    )
    batches = [[pieces[i] for i in chosen] for chosen in plan]
    disk = SlowDisk(milliseconds)
    with mock.patch.object(ObjectHandles, "read", disk.read):
        aside = epoch(corpus, batches, step, ahead=False)
        num_reads = disk.num_reads
        ahead = epoch(corpus, batches, step, ahead=True)
    return num_reads, aside, ahead, len(batches) * step / 1000


def epoch(
    corpus: TrainingCorpus, batches: Sequence[Sequence[Piece]], step: float, *, ahead: bool
) -> float:
    """Seconds of an epoch whose steps are pauses, with a newly opened store."""
    student = read_settings(Path("pipeline.yaml")).student
    cache_bytes = corpus.num_frames * BYTES_A_FRAME // 3
    store = open_store(corpus.train.path.with_name("train.zarr"), cache_bytes=cache_bytes)
    essence = Essence(student, store)

    def read(chosen: Sequence[Piece]) -> object:
        return essence.read(read_batch(corpus.train, chosen))

    begun = time.perf_counter()
    for _ in read_ahead(batches, read) if ahead else map(read, batches):
        time.sleep(step / 1000)
    return time.perf_counter() - begun


class SlowDisk:
    """The store's own reads, each delayed and counted."""

    def __init__(self, milliseconds: float) -> None:
        self.num_reads = 0
        really = ObjectHandles.read

        def read(handles: ObjectHandles, name: str, num_bytes: int, offset: int) -> bytes:
            self.num_reads += 1
            time.sleep(milliseconds / 1000)
            return really(handles, name, num_bytes, offset)

        self.read = read


if __name__ == "__main__":
    main()
