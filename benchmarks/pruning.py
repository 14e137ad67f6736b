"""Fewer ranks where a frame is sure: bytes, encoding and reading, relative to all ranks.

    python benchmarks/pruning.py [--classes 60,3000] [--frames 65536] [--rounds 7] [--json FILE]
    python benchmarks/pruning.py --store work/teacher-.../train.zarr

Frames are made from a seed (realistic_posteriors.py): of a CTC model, with runs of blank, and of a
frame-wise acoustic model without them; or those of a store that keeps all ranks. Time is that of
the processor, from memory; a ratio is taken within a round, and above 1 the pruned store is
slower.

Shapes: K kept ranks.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from posterior_sources import KEPT, from_store
from realistic_posteriors import ctc_posteriors, realistic_posteriors
from side_by_side import Contestant, each, machine, measured
from store_contestants import make_about, write_store

from storage.care.audit import audit_store
from storage.format.codec import CODINGS
from storage.format.layout import StoreAbout
from storage.format.pruning import Pruning
from storage.format.tiers import plan_tiers
from storage.read.reader import SoftLabelStore, open_store
from storage.write.shard_encoder import encode_shard
from storage.write.top_k import KeptBlock, cut_block, join_blocks, keep_top_k

ALL = "all ranks"
PRUNINGS = {
    ALL: None,
    "mass 0.99": Pruning(mass=0.99),
    "mass 0.999": Pruning(mass=0.999),
    "min_prob 1e-3": Pruning(min_prob=1e-3),
    "min_prob 1e-4": Pruning(min_prob=1e-4),
    "mass 0.999, min_prob 1e-4": Pruning(mass=0.999, min_prob=1e-4),
}
TIMED = (ALL, "mass 0.999", "min_prob 1e-4")
SOURCES = {"CTC": ctc_posteriors, "frame-wise": realistic_posteriors}
CHUNK_FRAMES = 8192
UTTERANCE_FRAMES = 256
NUM_RANDOM = 48  # utterances of a measurement
Row = dict[str, Any]


def main() -> None:
    """Print two tables for each set of frames, and write them as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", default="60,3000")
    parser.add_argument("--frames", type=int, default=65_536)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--store", type=Path, help="a sealed store, instead of made posteriors")
    parser.add_argument("--json", type=Path, help="write all tables there")
    options = parser.parse_args()
    print(machine())
    found = []
    for name, num_classes, kept in _frames(options):
        found.append(compare(name, num_classes, kept, options.rounds))
        if options.json is not None:
            content = {"machine": machine(), "rounds": options.rounds, "frames": found}
            options.json.write_text(json.dumps(content, indent=1) + "\n")


def _frames(options: argparse.Namespace) -> Iterator[tuple[str, int, KeptBlock]]:
    if options.store is not None:
        posteriors = from_store(open_store(options.store))
        yield options.store.name, posteriors.num_classes, posteriors.kept
        return
    num_frames = options.frames // UTTERANCE_FRAMES * UTTERANCE_FRAMES
    for num_classes in map(int, options.classes.split(",")):
        kept = min(KEPT, num_classes)
        for name, source in SOURCES.items():
            blocks = source(num_frames, num_classes, seed=1)
            tiers = plan_tiers(kept)
            yield name, num_classes, join_blocks([keep_top_k(b, kept, tiers=tiers) for b in blocks])


def compare(name: str, num_classes: int, kept: KeptBlock, rounds: int) -> Row:
    """Sizes and times of one set of frames."""
    num_frames, num_kept = kept.ids_TK.shape
    lengths = [UTTERANCE_FRAMES] * (num_frames // UTTERANCE_FRAMES)
    kept = cut_block(kept, 0, sum(lengths))
    about = make_about(num_classes, num_kept, lengths, CHUNK_FRAMES)
    print(f"\n## {name}, C = {num_classes}, K = {num_kept}: {sum(lengths)} frames\n")
    with tempfile.TemporaryDirectory() as folder:
        stores = {}
        sizes = [
            _size(
                Path(folder) / f"{codec}-{number}", codec, each_name, about, kept, lengths, stores
            )
            for codec in CODINGS
            for number, each_name in enumerate(PRUNINGS)
        ]
        print(
            "| codec | kept | ranks a frame | bytes a frame | of all ranks |\n|---|---|---|---|---|"
        )
        for row in sizes:
            whole = next(one for one in sizes if one["codec"] == row["codec"])
            row["of_all_ranks"] = row["bytes_per_frame"] / whole["bytes_per_frame"]
            print(
                f"| {row['codec']} | {row['kept']} | {row['ranks_per_frame']:.2f} | "
                f"{row['bytes_per_frame']:.2f} | {row['of_all_ranks']:.3f} |"
            )
        times = _times(about, kept, stores, rounds)
    return {"name": name, "num_classes": num_classes, "sizes": sizes, "times": times}


def _size(
    path: Path,
    codec: Any,
    name: str,
    about: StoreAbout,
    kept: KeptBlock,
    lengths: list[int],
    stores: dict[str, SoftLabelStore],
) -> Row:
    """Write a store; those of the usual codec are kept open in `stores`."""
    wanted = replace(about, coding=CODINGS[codec], pruning=PRUNINGS[name])
    write_store(path, wanted, kept, lengths)
    store = open_store(path, cache_bytes=0)
    if wanted.coding == about.coding:
        stores[name] = store
    audit = audit_store(store)
    return {
        "codec": codec,
        "kept": name,
        "ranks_per_frame": audit.mean_ranks.get(about.kept, float(about.kept)),
        "bytes_per_frame": audit.bytes_per_frame[about.kept],
    }


def _times(
    about: StoreAbout, kept: KeptBlock, stores: dict[str, SoftLabelStore], rounds: int
) -> list[Row]:
    """Times of whole stores with lz4, relative to that with all ranks."""
    rows: list[Row] = []
    shard = cut_block(kept, 0, len(stores[ALL].shard_frames(0)))
    encoders = {
        name: Contestant(
            lambda name=name: encode_shard(  # type: ignore[misc]
                replace(about, pruning=PRUNINGS[name]), [shard], shard=0
            ),
            shard,
        )
        for name in TIMED
    }
    print("\n| lz4 | all ranks, ns a frame | kept | times as long |\n|---|---|---|---|")
    rows += _ratios("encode", encoders, rounds)
    bounds = [*range(0, stores[ALL].num_frames, CHUNK_FRAMES), stores[ALL].num_frames]
    blocks = list(pairwise(bounds))
    starts = np.random.default_rng(2).permutation(stores[ALL].num_frames // UTTERANCE_FRAMES)
    some = [
        (u * UTTERANCE_FRAMES, (u + 1) * UTTERANCE_FRAMES) for u in starts[:NUM_RANDOM].tolist()
    ]
    for k in (1, 8, about.kept):
        for title, runs, is_coded in (
            ("block, as stored", blocks, True),
            ("block, decoded", blocks, False),
            ("random utterance, as stored", some, True),
        ):
            readers = {
                name: each(_reader(stores[name], k, is_coded=is_coded), runs) for name in TIMED
            }
            rows += _ratios(f"{title}, k = {k}", readers, rounds)
    return rows


def _reader(store: SoftLabelStore, k: int, *, is_coded: bool) -> Callable[[int, int], object]:
    read = store.read_codes if is_coded else store.read
    return lambda start, stop: read(range(start, stop), k=k)


def _ratios(title: str, contestants: dict[str, Contestant], rounds: int) -> list[Row]:
    seconds, rows = measured(contestants, rounds), []
    whole = 1e9 * statistics.median(seconds[ALL])
    for name in TIMED[1:]:
        pairs = zip(seconds[name], seconds[ALL], strict=True)
        ratios = sorted(few / all_ranks for few, all_ranks in pairs)
        middle = statistics.median(ratios)
        spread = f"{middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        print(f"| {title} | {whole:.0f} | {name} | {spread} |")
        rows.append({"title": title, "kept": name, "ns_all_ranks": whole, "ratios": ratios})
    return rows


if __name__ == "__main__":
    main()
