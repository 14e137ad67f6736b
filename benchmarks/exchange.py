"""What an import from, and an export to, Kaldi archives costs, in copies of the same bytes.

    python benchmarks/exchange.py [--frames 200000]

Printed: how long kaldi_native_io reads pairs, as a multiple of this program's time, then times for
import and export of pairs and of matrices (3000 classes, K = 32), as multiples of writing the
archive's bytes to the same disk; median and range of three runs.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kaldi_native_io
import numpy as np

from stages.acoustic.kaldi.posterior import binary_matrix, binary_posterior
from stages.acoustic.kaldi.posterior_export import Export, export_store
from stages.acoustic.kaldi.posterior_source import ArchiveSource
from stages.acoustic.kaldi.specifier import ToRead, ToWrite
from storage.exchange.plan import Identity, plan_import
from storage.exchange.survey import survey
from storage.exchange.take_in import take_in
from storage.read.reader import open_store
from tests.support.makers.store import make_logp

LENGTH, CLASSES, KEPT, RUNS = 1000, 3000, 32, 3
IDENTITY = Identity(split="train", frame_shift_ms=10.0, num_classes=CLASSES)


def main() -> None:
    """Print figures of one run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200_000)
    frames = parser.parse_args().frames
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_archive(folder / "pairs.ark", one_of_pairs(), frames // LENGTH)
        matrix = binary_matrix(make_logp(LENGTH, CLASSES))
        write_archive(folder / "matrices.ark", matrix, max(1, frames // LENGTH // 10))
        compare_readers(folder / "pairs.ark")
        for name in ("pairs", "matrices"):
            exchange(folder / f"{name}.ark", is_dense=name == "matrices")


def one_of_pairs() -> bytes:
    """LENGTH frames of KEPT pairs."""
    rng = np.random.default_rng(0)
    ids = np.stack([rng.choice(CLASSES, KEPT, replace=False) for _ in range(LENGTH)])
    prob = -np.sort(-rng.dirichlet(np.full(KEPT, 0.3), LENGTH), axis=1) * 0.97
    return binary_posterior(ids.astype(np.uint32), prob.astype(np.float32))


def write_archive(path: Path, utterance: bytes, count: int) -> None:
    """The same utterance under `count` ids."""
    with path.open("wb") as file:
        for number in range(count):
            file.write(f"utterance-{number} ".encode() + utterance)


def source(path: Path) -> ArchiveSource:
    """The archive, as the command reads it."""
    return ArchiveSource([ToRead(path, is_scp=False)])


def compare_readers(path: Path) -> None:
    """Pairs, read with both programs."""
    ours = seconds(lambda: sum(1 for _ in source(path).utterances(lambda _: None)))

    def read_with_kaldi() -> None:
        with kaldi_native_io.SequentialPosteriorReader(f"ark:{path}") as reader:
            for _ in reader:
                pass

    theirs = seconds(read_with_kaldi)
    print(f"read pairs: kaldi_native_io takes {in_words(theirs, of=ours)} times as long")


def exchange(path: Path, *, is_dense: bool) -> None:
    """Import and export of one archive."""
    store, back = path.with_suffix(".zarr"), path.with_suffix(".out")
    copied = seconds(lambda: shutil.copyfile(path, back))
    back.unlink()

    def do_import() -> None:
        shutil.rmtree(store, ignore_errors=True)
        found = survey(source(path), num_classes=CLASSES)
        plan = plan_import(found, IDENTITY, k=KEPT, normalise=False, program_version="0")
        take_in(store, plan, source(path))

    def do_export() -> None:
        back.unlink(missing_ok=True)
        target = ToWrite(back, None, is_text=False)
        export_store(open_store(store), Export(target=target, k=KEPT, is_dense=is_dense))

    for title, work in (("import", do_import), ("export", do_export)):
        taken = seconds(work)
        frames = open_store(store).num_frames
        print(
            f"{title} {path.stem}: {in_words(taken, of=copied)} copies of the archive, "
            f"{frames / statistics.median(taken):,.0f} frames/s of processor time"
        )


def seconds(work: Callable[[], object]) -> list[float]:
    """Processor time of RUNS runs."""
    taken = []
    for _ in range(RUNS):
        begin = time.process_time()
        work()
        taken.append(time.process_time() - begin)
    return taken


def in_words(taken: list[float], *, of: list[float]) -> str:
    """Median and range of ratios."""
    base = statistics.median(of)
    low, middle, high = (f(taken) / base for f in (min, statistics.median, max))
    return f"{middle:.1f} ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
