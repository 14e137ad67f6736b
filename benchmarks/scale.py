"""The teacher at scale: cost of the stage beyond its members' forward passes; 1 and 2 workers.

    OMP_NUM_THREADS=1 python benchmarks/scale.py [--rounds 5] [--only overhead,workers,...]

overhead   the whole stage (read features, label, keep the best, encode, flush, seal, read back,
           summarise) relative to its members' forward passes on the same batches: processor time
           of the process, in turns.
workers    the same corpus by one and by two worker processes of one thread each, in turns.
bytes      size of a copy of k ranks out of 32.
streaming  an epoch in random order at k = 8, from a server on loopback, without and with the
           object cache on disk, relative to the same store on disk: wall-clock time, in turns.
table      opening and creating stores of very many utterances, and the manifest of very many
           shards: seconds of processor time, and memory.

Features and weights are random: no result depends on training, except the bytes, which are those
of realistic posteriors. A ratio is taken within its round.
"""

import argparse
import multiprocessing
import re
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from realistic_posteriors import realistic_posteriors
from side_by_side import machine

from pipeline.cluster.options import Workers
from pipeline.cluster.workers import workforce
from stages.acoustic.models.architectures import build_model
from stages.acoustic.models.model_file import ModelAbout, save_model
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.progress import SilentProgress
from stages.members.batches import plan_batches, read_batch
from stages.members.kinds import open_member
from stages.teacher.label import label_corpus
from stages.teacher.settings import TeacherSettings
from stages.teacher.workforce import ThisProcess, Workforce
from storage.contents.commits import frame_objects
from storage.contents.metadata import read_metadata
from storage.corpus.corpus_file import CorpusAbout, CorpusFile
from storage.corpus.corpus_writer import CorpusWriter
from storage.format.layout import StoreAbout, StoreUtterance
from storage.format.records import ObjectRecord, decode_records, encode_records
from storage.place.find_place import find_place
from storage.place.object_cache import ObjectCache
from storage.place.place import Place
from storage.read.reader import SoftLabelStore, open_store
from storage.transfer.plan import Selection, plan_transfer, wanted_part
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter

FEATURE_DIM = 120
KEPT = 32
SIZES = {  # members, classes, frames
    "small: the default ensemble": (
        [("tdnn", 192, 6), ("gru", 128, 2), ("conv", 192, 5)],
        750,
        72000,
    ),
    "usual: 4 TDNNs of 6 million": ([("tdnn", 512, 6)] * 4, 3000, 8192),
    "large: 2 TDNNs of 17 million": ([("tdnn", 768, 6)] * 2, 9000, 8192),
}


def make_corpus(path: Path, num_frames: int, num_classes: int) -> None:
    """Utterances of 1 to 12 seconds, at 100 frames a second."""
    rng = np.random.default_rng(1)
    about = CorpusAbout(
        split="train",
        feature_dim=FEATURE_DIM,
        num_classes=num_classes,
        class_inventory="made",
        frame_shift_ms=10.0,
        subsampling=1,
        has_labels=True,
        feature_settings={},
    )
    with CorpusWriter(path, about) as writer:
        left, number = num_frames, 0
        while left > 0:
            length = min(left, int(rng.integers(100, 1200)))
            writer.add(
                f"utterance-{number:08d}",
                speaker=f"speaker {number % 50}",
                transcript="some words",
                features_TF=rng.normal(size=(length, FEATURE_DIM)).astype(np.float32),
                labels_T=rng.integers(0, num_classes, size=length),
            )
            left, number = left - length, number + 1


def make_members(root: Path, shapes: list[tuple[str, int, int]], num_classes: int) -> list[Path]:
    """Models of random weights."""
    directories = []
    for number, (kind, hidden, layers) in enumerate(shapes):
        settings: dict[str, Any] = {"kind": kind, "hidden": hidden, "layers": layers}
        architecture = ArchitectureSettings.model_validate(settings)
        with torch.random.fork_rng():
            torch.manual_seed(number)
            model = build_model(architecture, FEATURE_DIM, num_classes)
        with torch.no_grad():
            model.output.weight *= 20  # peaked, as trained models are
        directory = root / f"member-{number}"
        directory.mkdir()
        about = ModelAbout(
            architecture=architecture,
            feature_dim=FEATURE_DIM,
            num_classes=num_classes,
            class_inventory="made",
            corpus_fingerprint="0" * 64,
        )
        save_model(directory, model, about)
        directories.append(directory)
    return directories


def stage(root: Path, members: list[Path], workforce: Workforce, settings: TeacherSettings) -> None:
    """Run the teacher stage as `essence teacher` does."""
    directory = root / "teacher"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    label_corpus(
        settings,
        members=members,
        corpus_directory=root,
        directory=directory,
        device="cpu",
        progress=SilentProgress(),
        workforce=workforce,
    )


def overhead(rounds: int, sizes: list[str]) -> None:
    """Print the stage's time relative to its members' forward passes on the same batches."""
    print("\n| members | frames | forward passes, us a frame | the stage, times that |")
    print("|---|---|---|---|")
    settings = TeacherSettings(splits=("train",), kept=KEPT)
    for name, (shapes, num_classes, num_frames) in SIZES.items():
        if name.partition(":")[0] not in sizes:
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            make_corpus(root / "train.h5", num_frames, num_classes)
            members = make_members(root, shapes, num_classes)
            acts: dict[str, Callable[[], None]] = {
                "forward": partial(forward, root, members, settings),
                "stage": partial(stage, root, members, ThisProcess(), settings),
            }
            seconds = in_turns(acts, rounds, clock=time.process_time)
        ratios = [a / b for a, b in zip(seconds["stage"], seconds["forward"], strict=True)]
        per_frame = 1e6 * statistics.median(seconds["forward"]) / num_frames
        row = f"{name}, C = {num_classes} | {num_frames} | {per_frame:.0f} | {spread(ratios)}"
        print(f"| {row} |", flush=True)


def forward(root: Path, members: list[Path], settings: TeacherSettings) -> None:
    """Load the members and compute the log-posteriors of each batch; discard them."""
    loaded = [open_member(path, device="cpu").load() for path in members]
    with CorpusFile(root / "train.h5") as corpus:
        everything, size = range(len(corpus.utterances)), settings.batch_frames
        for pieces in plan_batches(corpus.utterances, everything, batch_frames=size):
            batch = read_batch(corpus, pieces, device="cpu", with_features=True)
            for member in loaded:
                member.log_posteriors(batch)


def workers(rounds: int) -> None:
    """Print the speed of two worker processes relative to one: critical path and wall clock.

    The critical path is the processor time of this process (with the scheduler in it) plus that of
    the busiest worker: the wall-clock time on two free cores.
    """
    shapes, num_classes, _ = SIZES["usual: 4 TDNNs of 6 million"]
    settings = TeacherSettings(splits=("train",), kept=KEPT, shard_frames=512, chunk_frames=512)
    longest: dict[int, list[float]] = {1: [], 2: []}
    clock: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        make_corpus(root / "train.h5", 6144, num_classes)
        members = make_members(root, shapes, num_classes)
        crews = {
            number: stack.enter_context(workforce(Workers(number=number), device="cpu", note=print))
            for number in (1, 2)
        }
        for round_number in range(rounds + 1):
            for number, crew in crews.items():
                before, started = processor_seconds(), time.perf_counter()
                stage(root, members, crew, settings)
                own, *others = (
                    seconds - before.get(pid, 0.0) for pid, seconds in processor_seconds().items()
                )
                if round_number:  # the first one loads the members
                    longest[number].append(own + max(others))
                    clock[number].append(time.perf_counter() - started)
    for name, seconds in (("processor time of the critical path", longest), ("wall clock", clock)):
        ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
        print(f"speed of two workers relative to one, {name}: {spread(ratios)}", flush=True)


def processor_seconds() -> dict[int, float]:
    """Processor time by process id: this process first, then its children."""
    this = psutil.Process()
    times = {child.pid: child.cpu_times() for child in this.children(recursive=True)}
    used = {pid: found.user + found.system for pid, found in times.items()}
    return {this.pid: time.process_time(), **used}


def bytes_moved() -> None:
    """Print the size of a copy of the first ranks of a store of realistic posteriors."""
    head = "C = 3000: bytes a frame | of the whole | C = 9000: bytes a frame | of the whole"
    print(f"\n| k of 32 | {head} |")
    print("|---|---|---|---|---|")
    rows: dict[int, list[str]] = {k: [] for k in (1, 4, 8, 16, 32)}
    for num_classes in (3000, 9000):
        with tempfile.TemporaryDirectory() as folder:
            store = fill_realistic(Path(folder) / "a.zarr", num_classes, 32768)
            contents = store.contents
            for k, row in rows.items():
                part = wanted_part(
                    contents.metadata,
                    Selection(ks=(k,)),
                    digest=contents.digest,
                    source=store.place.address,
                )
                plan = plan_transfer(
                    contents.digest, contents.records, part, is_there=nothing_is_there
                )
                share = plan.num_bytes / plan.whole_bytes
                row.append(f"{plan.num_bytes / store.num_frames:.2f} | {share:.3f}")
    for k, row in rows.items():
        print(f"| {k} | {' | '.join(row)} |")


class RangeServer(SimpleHTTPRequestHandler):
    """Serve files with byte ranges, over persistent connections."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, otherwise a response waits 40 ms for the client

    def do_GET(self) -> None:
        """Send one range, or the whole file."""
        try:
            content = Path(self.translate_path(self.path)).read_bytes()
        except OSError:
            self.send_error(404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked:
            content = content[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def serve(folder: str, port: "multiprocessing.Queue[int]") -> None:
    """Serve a folder until the process is killed."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(RangeServer, directory=folder)) as server:
        port.put(server.server_port)
        server.serve_forever()


def streaming(rounds: int) -> None:
    """Print the time of an epoch over the network relative to one from disk."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = fill_realistic(root / "a.zarr", 9000, 65536, utterance_frames=400)
        ids = [row.id for row in store.utterances]
        port: multiprocessing.Queue[int] = multiprocessing.Queue()
        server = multiprocessing.Process(target=serve, args=(folder, port), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{port.get()}/a.zarr"
        number = iter(range(1000))

        def far(name: str) -> Place:
            return find_place(url, cache=ObjectCache(root / name, max_bytes=1 << 30))

        def cold() -> SoftLabelStore:
            return open_store(far(f"cold-{next(number)}"))

        def warm() -> SoftLabelStore:
            return open_store(far("warm"))

        opened: dict[str, Callable[[], SoftLabelStore]] = {
            "disk": lambda: open_store(root / "a.zarr"),
            "server": lambda: open_store(url),
            "server, cache filled on the way": cold,
            "server, second epoch": warm,
        }
        acts: dict[str, Callable[[], None]] = {
            name: partial(epoch, open_it, ids) for name, open_it in opened.items()
        }
        seconds = in_turns(acts, rounds, clock=time.perf_counter)
        server.terminate()
    frames = store.num_frames / statistics.median(seconds["disk"])
    print(f"\nan epoch at k = 8 from disk: {frames / 1e6:.2f} million frames a second")
    for name in list(acts)[1:]:
        ratios = [a / b for a, b in zip(seconds[name], seconds["disk"], strict=True)]
        print(f"{name}: {spread(ratios)} times as long")


def epoch(open_it: Callable[[], SoftLabelStore], ids: list[str]) -> None:
    """Read every utterance once, in random order, 16 a batch, from a newly opened store."""
    store = open_it()
    order = np.random.default_rng(5).permutation(len(ids))
    for start in range(0, len(ids), 16):
        store.read([ids[index] for index in order[start : start + 16]], k=8)


def nothing_is_there(_name: str, _record: ObjectRecord) -> bool:
    """Report every object as absent, as for a first copy."""
    return False


def fill_realistic(
    path: Path, num_classes: int, num_frames: int, *, utterance_frames: int | None = None
) -> SoftLabelStore:
    """A sealed store of realistic posteriors."""
    about = store_about(num_classes, shard_frames=num_frames, chunk_frames=8192)
    step = utterance_frames or num_frames
    rows = [
        StoreUtterance(
            id=str(start), num_frames=min(step, num_frames - start), digest=f"{start:064x}"
        )
        for start in range(0, num_frames, step)
    ]
    writer = StoreWriter.create(path, about, utterances=rows)
    blocks = realistic_posteriors(num_frames, num_classes, seed=1)
    writer.write_blocks(0, (keep_top_k(block, KEPT, tiers=about.tiers) for block in blocks))
    writer.seal()
    return open_store(path)


def store_about(num_classes: int, *, shard_frames: int, chunk_frames: int) -> StoreAbout:
    """The attributes of a store of an ensemble of eight."""
    return StoreAbout(
        split="train",
        corpus_fingerprint="c" * 64,
        class_inventory="d" * 64,
        num_classes=num_classes,
        kept=KEPT,
        members=tuple(f"{number:064x}" for number in range(8)),
        weights=(0.125,) * 8,
        combine="arithmetic",
        temperature=1.0,
        temperatures=(),
        shard_frames=shard_frames,
        chunk_frames=chunk_frames,
        frame_shift_ms=10.0,
        subsampling=1,
        left_out=(),
        program_version="0.1.0",
    )


def table() -> None:
    """Print the cost of very many utterances and shards; frames are not made."""
    print("\n| utterances (shards) | what | seconds | bytes each in memory | on disk |")
    print("|---|---|---|---|---|")
    for what, num_utterances in (
        (_corpus_table, 100_000),  # a million takes ten minutes to write
        (_store_table, 100_000),
        (_store_table, 1_000_000),
        (_manifest, 4_578),  # 1.2 thousand million frames in shards of 262144
        (_manifest, 36_622),  # and in shards of 32768
    ):
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=what, args=(num_utterances,))
        process.start()
        process.join()


def _corpus_table(num_utterances: int) -> None:
    about = CorpusAbout(
        split="train",
        feature_dim=1,
        num_classes=9000,
        class_inventory="made",
        frame_shift_ms=10.0,
        subsampling=1,
        has_labels=True,
        feature_settings={},
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.h5"
        features_TF, labels_T = np.zeros((1, 1), np.float32), np.zeros(1, np.int32)
        with CorpusWriter(path, about) as writer:
            for number in range(num_utterances):
                writer.add(
                    f"speaker-{number % 5000:05d}-utterance-{number:08d}",
                    speaker=f"speaker-{number % 5000:05d}",
                    transcript="twelve words are what an utterance of four seconds has or so here",
                    features_TF=features_TF,
                    labels_T=labels_T,
                )
        on_disk = path.stat().st_size / num_utterances
        measured("opening the corpus file", num_utterances, on_disk, lambda: CorpusFile(path))


def _store_table(num_utterances: int) -> None:
    rng = np.random.default_rng(1)
    lengths = rng.integers(100, 700, size=num_utterances)
    about = store_about(9000, shard_frames=1 << 18, chunk_frames=8192)
    rows = [
        StoreUtterance(
            id=f"speaker-{number % 5000:05d}-utterance-{number:08d}",
            num_frames=int(length),
            digest=rng.bytes(32).hex(),
        )
        for number, length in enumerate(lengths)
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.zarr"
        create = partial(StoreWriter.create, path, about, utterances=rows)
        measured("creating a store", num_utterances, 0, create)
        on_disk = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        read = partial(read_metadata, path)
        measured("reading its utterance table", num_utterances, on_disk / num_utterances, read)


def _manifest(num_shards: int) -> None:
    shard_frames = 1_200_000_000 // num_shards // 8192 * 8192
    about = store_about(9000, shard_frames=shard_frames, chunk_frames=8192)
    chunks = tuple(range(4_000_000_000, 4_000_000_000 + shard_frames // 8192))
    records = {
        name: ObjectRecord(num_bytes=1_000_000, sha256="e" * 64, chunks=chunks)
        for shard in range(num_shards)
        for name in frame_objects(about, shard)
    }
    content = encode_records(records, version=1)
    del records
    read = partial(decode_records, content, where="the manifest")
    measured(
        f"reading the manifest of {num_shards:,} shards",
        num_shards,
        len(content) / num_shards,
        read,
    )


def measured(what: str, num_utterances: int, on_disk: float, act: Callable[[], object]) -> None:
    """Print one line: seconds of processor time, and the growth of the process's memory."""
    before, started = memory_bytes(), time.process_time()
    result = act()
    seconds, grown = time.process_time() - started, memory_bytes() - before
    disk = f"{on_disk:.0f}" if on_disk else ""
    print(
        f"| {num_utterances:,} | {what} | {seconds:.1f} | {grown / num_utterances:.0f} | {disk} |"
    )
    del result


def memory_bytes() -> int:
    """Resident memory of the process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def in_turns(
    acts: dict[str, Callable[[], None]], rounds: int, *, clock: Callable[[], float]
) -> dict[str, list[float]]:
    """Seconds of each act in each round, in changing order, after one round of warm-up."""
    rng = np.random.default_rng(3)
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for round_number in range(rounds + 1):
        for name in rng.permutation(list(acts)):
            started = clock()
            acts[name]()
            if round_number:
                seconds[name].append(clock() - started)
    return seconds


def spread(ratios: list[float]) -> str:
    """Median and range."""
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", default="small,usual,large")
    parser.add_argument("--only", default="overhead,workers,bytes,streaming,table")
    asked = parser.parse_args()
    print(f"{machine()}, torch {torch.__version__}; {asked.rounds} rounds")
    parts = asked.only.split(",")
    if "overhead" in parts:
        overhead(asked.rounds, asked.sizes.split(","))
    if "workers" in parts:
        workers(asked.rounds)
    if "bytes" in parts:
        bytes_moved()
    if "streaming" in parts:
        streaming(asked.rounds)
    if "table" in parts:
        table()


if __name__ == "__main__":
    main()
