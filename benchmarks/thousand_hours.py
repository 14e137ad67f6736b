"""A thousand hours as a soft-label store on one machine: made, killed, checked, copied, read.

    python benchmarks/thousand_hours.py [--hours 1000] [--mean-frames 300] [--folder DIR]

90 million frames of 40 ms, C = 5000, K = 32, in 300,000 utterances of 300 frames on average. Frames
are those of realistic posteriors (realistic_posteriors.py), 65,536 of them, repeated with other
class ids in each block. Every step is a process of its own, as the commands are:

make     two writers share the shards; both are killed (SIGKILL) when half of these are committed
resume   two writers make the rest
seal     the manifest, HEAD
verify   `essence cache verify --data`: every byte
push     `essence cache push` to another folder
epoch    each utterance of the copy once, in random order, k = 8, in batches of 16. Every 1000th is
         compared with what the writers were given.

Prints a table: wall clock, processor time, and memory (largest resident set, of two writers their
sum). The folder (default: a new one in the temporary directory) needs 13 GB for 1000 hours; what
was written is removed at the end.

Shapes: T frames, K kept ranks.
"""

import argparse
import hashlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from realistic_posteriors import realistic_posteriors
from side_by_side import machine

from storage.format.layout import StoreAbout, StoreUtterance
from storage.format.tiers import plan_tiers
from storage.format.value_code import encode_logp
from storage.read.reader import open_store
from storage.write.top_k import KeptBlock, cut_block, join_blocks, keep_top_k
from storage.write.writer import StoreWriter

NUM_CLASSES = 5000
KEPT = 32
FRAMES_PER_SECOND = 25  # 40 ms
POOL_FRAMES = 65_536
BLOCK_FRAMES = 16_384
READ_K = 8
BATCH = 16  # utterances that are read together
EVERY = 1000  # utterances of which one is compared
NUM_WRITERS = 2
ABOUT = StoreAbout(
    split="train",
    corpus_fingerprint="0" * 64,
    class_inventory="0" * 64,
    num_classes=NUM_CLASSES,
    kept=KEPT,
    members=("0" * 64,),
    weights=(1.0,),
    combine="arithmetic",
    temperature=1.0,
    temperatures=(),
    shard_frames=262_144,
    chunk_frames=8192,
    frame_shift_ms=40.0,
    subsampling=4,
    left_out=(),
    program_version="benchmark",
)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step took. Processes that run at the same time: their sums."""

    wall: float
    processor: float  # seconds
    memory: int  # bytes


def main() -> None:
    """Run all steps, or the one that this process is for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=1000)
    parser.add_argument("--mean-frames", type=int, default=300, help="of an utterance")
    parser.add_argument("--folder", type=Path, help="a folder with room; its content is left alone")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        STEPS[options.step](options.folder)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="thousand-hours-") as name:
        num_frames = round(options.hours * 3600 * FRAMES_PER_SECOND)
        prepare(Path(name), num_frames, num_frames // options.mean_frames)
        run_all(Path(name))


def prepare(folder: Path, num_frames: int, num_utterances: int) -> None:
    """Leave what the writers share: the lengths of all utterances, and the frames to repeat."""
    rng = np.random.default_rng(1)
    drawn_U = np.clip(rng.lognormal(0, 0.5, size=num_utterances), 0.1, 3)
    ends_U = np.round(np.cumsum(drawn_U) * num_frames / drawn_U.sum()).astype(np.int64)
    lengths_U = np.diff(ends_U, prepend=0)
    dense = realistic_posteriors(POOL_FRAMES, NUM_CLASSES, seed=1)
    pool = join_blocks([keep_top_k(logp_TC, KEPT, tiers=plan_tiers(KEPT)) for logp_TC in dense])
    arrays = {"ids": pool.ids_TK, "logp": pool.logp_TK, "tail": pool.tail_TG}
    np.savez(folder / "pool.npz", lengths=lengths_U, **arrays)


def run_all(folder: Path) -> None:
    """Print the table of the steps."""
    print(
        f"{machine()}\n\n| step | wall clock, s | processor, s | memory, MiB |\n|---|---|---|---|"
    )
    store, there = folder / "train.zarr", folder / "second" / "train.zarr"
    writers = [own_step(f"write {number}", folder) for number in range(NUM_WRITERS)]
    half = num_shards(folder) // 2
    essence = [sys.executable, "-m", "essence", "cache"]
    killed = run(writers, kill_if=lambda: num_committed(store) >= half)
    costs = [
        show(f"make, killed after {num_committed(store)} shards", killed),
        show("resume", run(writers)),
        show("seal", run([own_step("seal", folder)])),
        show("verify --data", run([[*essence, "verify", "--data", str(store)]])),
        show("push", run([[*essence, "push", str(store), str(there)]])),
        show(f"epoch, k = {READ_K}", run([own_step("epoch", folder)])),
    ]
    wall, processor = (sum(getattr(c, name) for c in costs) for name in ("wall", "processor"))
    show("all", Cost(wall, processor, max(cost.memory for cost in costs)))
    opened = open_store(there)
    frames, utterances = opened.num_frames, len(opened.utterances)
    size = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    print(f"\n{frames:,} frames, {utterances:,} utterances, {opened.num_shards} shards; ", end="")
    print(f"{size / frames:.1f} bytes a frame")
    print(f"disk: {2 * size / 1e9:.2f} GB for the store and its copy")


def show(step: str, cost: Cost) -> Cost:
    """Print a row of the table."""
    row = f"{step} | {cost.wall:.0f} | {cost.processor:.0f} | {cost.memory / 2**20:.0f}"
    print(f"| {row} |", flush=True)
    return cost


def own_step(step: str, folder: Path) -> list[str]:
    """The command for a step of this file."""
    return [sys.executable, __file__, "--step", step, "--folder", str(folder)]


def run(commands: Sequence[Sequence[str]], kill_if: Callable[[], bool] = lambda: False) -> Cost:
    """Run processes at the same time; kill them all once `kill_if` is true."""
    started, output = time.perf_counter(), tempfile.TemporaryFile("w+")  # noqa: SIM115
    running = [subprocess.Popen(command, stdout=output, stderr=output) for command in commands]
    largest = {process.pid: 0 for process in running}
    wants_kill = False
    while not wants_kill and any(os.waitid(os.P_PID, p.pid, PEEK) is None for p in running):
        wants_kill = kill_if()
        for pid in largest:
            largest[pid] = max(largest[pid], memory_of(pid))
        time.sleep(0.05)
    processor = 0.0
    for process in running:
        if wants_kill:
            os.kill(process.pid, signal.SIGKILL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != (-signal.SIGKILL if wants_kill else 0):
            output.seek(0)
            raise SystemExit(f"{process.args} ended with {process.returncode}: {output.read()}")
        processor += usage.ru_utime + usage.ru_stime
    return Cost(time.perf_counter() - started, processor, sum(largest.values()))


def memory_of(pid: int) -> int:
    """The largest resident set of a process until now; 0 if it has ended.

    `ru_maxrss` would be at least that of this process: it outlives the fork and the exec.
    """
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) * 1024 if found else 0


PEEK = os.WEXITED | os.WNOHANG | os.WNOWAIT


class Source:
    """What the writers are given: any run of frames, without those before it."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "pool.npz") as arrays:
            self.lengths: list[int] = arrays["lengths"].tolist()
            ids, logp, tail = (arrays[name] for name in ("ids", "logp", "tail"))
        none = np.empty((POOL_FRAMES, 0), np.float32)
        self._pool = KeptBlock(ids_TK=ids, logp_TK=logp, tail_TG=tail, log_norm_TH=none)

    def utterances(self) -> Iterator[StoreUtterance]:
        """The rows of the store's table."""
        for number, length in enumerate(self.lengths):
            digest = hashlib.sha256(str(number).encode()).hexdigest()
            yield StoreUtterance(
                id=f"speaker-{number % 2500:04d}-{number:08d}", num_frames=length, digest=digest
            )

    def blocks(self, start: int, stop: int) -> Iterator[KeptBlock]:
        """Frames [start, stop) in blocks; each repetition of the pool has its own class ids."""
        while start < stop:
            at = start % POOL_FRAMES
            end = min(stop - start + at, POOL_FRAMES, at - at % BLOCK_FRAMES + BLOCK_FRAMES)
            block = cut_block(self._pool, at, end)
            ids_TK = (block.ids_TK + start // POOL_FRAMES * 7919) % NUM_CLASSES
            yield replace(block, ids_TK=ids_TK.astype(np.uint32))
            start += end - at


def writer_of(folder: Path) -> tuple[StoreWriter, Source]:
    """The store under construction, begun or resumed."""
    source = Source(folder)
    rows = tuple(source.utterances())
    return StoreWriter.create(folder / "train.zarr", ABOUT, utterances=rows), source


def write(folder: Path, number: int) -> None:
    """Write the missing shards of one of the writers."""
    writer, source = writer_of(folder)
    starts = [0, *accumulate(source.lengths)]
    for shard in writer.missing_shards():
        if shard % NUM_WRITERS == number:
            rows = writer.shard(shard)
            writer.write_blocks(shard, source.blocks(starts[rows.start], starts[rows.stop]))


def epoch(folder: Path) -> None:
    """Read each utterance once, and compare some."""
    source = Source(folder)
    starts = [0, *accumulate(source.lengths)]
    store = open_store(folder / "second" / "train.zarr")
    order = np.random.default_rng(2).permutation(len(source.lengths)).tolist()
    num_frames = 0
    for at in range(0, len(order), BATCH):
        batch = order[at : at + BATCH]
        found = store.read_codes([store.utterances[u].id for u in batch], k=READ_K)
        num_frames += len(found.tail_T)
        row = 0
        for u in batch:
            length = source.lengths[u]
            if u % EVERY == 0 and length:
                given = join_blocks(list(source.blocks(starts[u], starts[u] + length)))
                assert_same(found.ids_TK[row : row + length], given.ids_TK[:, :READ_K])
                assert_same(
                    found.codes_TK[row : row + length], encode_logp(given.logp_TK[:, :READ_K])
                )
            row += length
    if num_frames != store.num_frames:
        raise SystemExit(f"read {num_frames} frames of {store.num_frames}")


def assert_same(found: NDArray[np.generic], wanted: NDArray[np.generic]) -> None:
    """End the benchmark where a value is not what was written."""
    if not np.array_equal(found, wanted):
        raise SystemExit("the store does not return what was written")


def num_committed(store: Path) -> int:
    """Shards with a commit record."""
    return len(list((store / "commits").glob("*.json"))) if store.exists() else 0


def num_shards(folder: Path) -> int:
    """About how many shards there will be."""
    with np.load(folder / "pool.npz") as arrays:
        return -(-int(arrays["lengths"].sum()) // ABOUT.shard_frames)


STEPS: dict[str, Callable[[Path], None]] = {
    **{f"write {n}": lambda folder, n=n: write(folder, n) for n in range(NUM_WRITERS)},
    "seal": lambda folder: print(writer_of(folder)[0].seal()),
    "epoch": epoch,
}


if __name__ == "__main__":
    main()
