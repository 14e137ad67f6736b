"""The soft-label store relative to its alternatives: bytes, error, speed, as ratios.

    python benchmarks/store.py [--classes 3000,9000] [--frames 131072] [--k 1,4,8,32] [--rounds 7]
    python benchmarks/store.py --members work/member-*/ --corpus work/corpus-.../train.h5
    python benchmarks/store.py --store work/teacher-.../train.zarr

Posteriors are made from a seed (realistic_posteriors.py), or with --members computed by models on
speech. With --store they have been through the value code once, so the error cannot be measured,
naive Zarr has few different values, and the dense file has the tail spread evenly. --no-speed
prints only sizes and error.
Everything is written below a temporary directory and read from the page cache: this measures the
work of the processor, not a disk. Each round runs all contestants once, in a new order, and a
ratio is taken within its round.

A speed ratio above 1 means that the store is faster. `decoded`: uint32 ids and float32
log-probabilities. `as stored`: uint16 ids, with one-byte codes in the store, float16 in the others.

Shapes: T frames, C classes, K kept ranks, U utterances.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from posterior_sources import Posteriors, from_members, from_seed, from_store
from side_by_side import Contestant, each, machine, print_ratios
from store_contestants import (
    DenseHdf5,
    Memmap,
    NaiveZarr,
    encode_with_zarr,
    make_about,
    other_readers,
    write_store,
)

from storage.format.value_code import PROB_OF_CODE, encode_logp, encode_prob
from storage.read.reader import SoftLabelStore, open_store
from storage.write.shard_encoder import encode_shard
from storage.write.top_k import KeptBlock, cut_block

BLOCK_FRAMES = 32_768
NUM_RANDOM = 64  # utterances of one measurement
NUM_RANDOM_SLOW = 8  # of these, for the slow contestants
BATCH = 16  # utterances of a batch of the loader


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", default="3000,9000")
    parser.add_argument("--frames", type=int, default=131_072)
    parser.add_argument("--k", default="1,4,8,32")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--store", type=Path, help="a sealed store, instead of made posteriors")
    parser.add_argument("--members", type=Path, nargs="+", help="models; their mean on --corpus")
    parser.add_argument("--corpus", type=Path, help="with --members: a split's .h5")
    parser.add_argument("--no-speed", action="store_true", help="sizes and error only")
    options = parser.parse_args()
    if bool(options.members) != bool(options.corpus):
        parser.error("--members and --corpus go together")
    rounds = 0 if options.no_speed else options.rounds
    print(f"{machine()}; {rounds} rounds: median (lowest to highest)\n")
    ks = [int(k) for k in options.k.split(",")]
    if options.store is not None:
        compare(from_store(open_store(options.store)), ks, rounds)
    elif options.members:
        compare(from_members(options.members, options.corpus), ks, rounds)
    else:
        for num_classes in map(int, options.classes.split(",")):
            compare(from_seed(options.frames, num_classes), ks, rounds)


def compare(posteriors: Posteriors, ks: Sequence[int], rounds: int) -> None:
    """Print the tables of one set of frames."""
    kept, lengths, num_classes = posteriors.kept, posteriors.lengths, posteriors.num_classes
    num_kept = kept.ids_TK.shape[1]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        stores = {}
        for chunk_frames in (8192, 4096):
            about = make_about(num_classes, num_kept, lengths, chunk_frames)
            path = directory / f"{chunk_frames}.zarr"
            write_store(path, about, kept, lengths)
            stores[chunk_frames] = path
        memmap = Memmap.write(directory, kept)
        naive = NaiveZarr(directory / "naive.zarr", memmap)
        dense = DenseHdf5(directory / "dense.h5", posteriors.dense_TC, resizable=False)
        growing = DenseHdf5(directory / "growing.h5", posteriors.dense_TC, resizable=True)
        print(f"## C = {num_classes}, K = {num_kept}: {len(lengths)} utterances, ", end="")
        print(f"{sum(lengths)} frames\n")
        print_sizes(open_store(stores[8192]), naive, num_classes)
        if posteriors.exact:
            print_error(kept)
        if not rounds:
            return
        print("| speed | ours, million frames/s | against | ratio |\n|---|---|---|---|")
        some = [k for k in ks if k <= num_kept]
        for title, contestants in measurements(
            stores, memmap, naive, dense, growing, kept, lengths, some
        ):
            print_ratios(title, contestants, rounds)
        print()


def print_sizes(store: SoftLabelStore, naive: NaiveZarr, num_classes: int) -> None:
    """Print bytes a frame by tier, and relative to the alternatives."""
    frames, kept = store.num_frames, store.about.kept
    by_tier = store.bytes_by_tier()
    arrays = sum(
        path.stat().st_size
        for path in Path(store.place.address).rglob("c/*")
        for path in [path, *path.glob("*")]
        if path.is_file() and "utterances" not in path.parts
    )
    item = 2 if num_classes <= 65_534 else 4
    print("| bytes | a frame | of the whole |\n|---|---|---|")
    for last, num_bytes in by_tier.items():
        print(f"| k <= {last} opens | {num_bytes / frames:.2f} | {num_bytes / arrays:.3f} |")
    ours = arrays / frames
    print(f"| all arrays | {ours:.2f} | 1 |")
    others = {
        "memmap": kept * (item + 2),
        "naive zstd Zarr": naive.num_bytes / frames,
        "dense float32": 4 * num_classes,
    }
    for name, size in others.items():
        print(f"| {name} | {size:.2f} | ours is {ours / size:.4f} = 1/{size / ours:.1f} |")
    print()


def print_error(kept: KeptBlock) -> None:
    """Print KL(true || decoded) over kept ranks and tail, both scaled to sum to one."""
    true = np.concatenate([np.exp(kept.logp_TK.astype(np.float64)), kept.tail_TG[:, -1:]], axis=1)
    true /= true.sum(axis=1, keepdims=True)
    codes = np.concatenate([encode_logp(kept.logp_TK), encode_prob(kept.tail_TG[:, -1:])], axis=1)
    found = PROB_OF_CODE[codes].astype(np.float64)
    found /= found.sum(axis=1, keepdims=True)
    kl_T = (true * np.log(np.maximum(true, 1e-300) / found)).sum(axis=1)
    entropy = -(true * np.log(np.maximum(true, 1e-300))).sum(axis=1).mean()
    print(
        f"KL of the stored values: mean {kl_T.mean():.1e}, maximum {kl_T.max():.1e} nats; "
        f"mean entropy {entropy:.2f} nats, mean best {np.exp(kept.logp_TK[:, 0]).mean():.2f}\n"
    )


def measurements(
    stores: dict[int, Path],
    memmap: Memmap,
    naive: NaiveZarr,
    dense: DenseHdf5,
    growing: DenseHdf5,
    kept: KeptBlock,
    lengths: Sequence[int],
    ks: Sequence[int],
) -> Iterator[tuple[str, dict[str, Contestant]]]:
    """(title, name -> contestant); the first contestant is the store, `ours`."""
    cold = {frames: open_store(path, cache_bytes=0) for frames, path in stores.items()}
    store = cold[8192]
    others = other_readers(store)
    shard = cut_block(kept, 0, len(store.shard_frames(0)))
    yield (
        f"encode, K = {store.about.kept}",
        {
            "ours": Contestant(lambda: encode_shard(store.about, [shard], shard=0), shard),
            "zarr-python": Contestant(lambda: encode_with_zarr(store.about, shard), shard),
        },
    )
    ends = [*range(0, store.num_frames, BLOCK_FRAMES), store.num_frames]
    blocks = list(pairwise(ends))
    shards = [(r.start, r.stop) for r in map(store.shard_frames, range(store.num_shards))]
    for k in ks:
        yield (
            f"block, decoded, k = {k}",
            {
                "ours": each(lambda a, b, k=k: store.read(range(a, b), k=k), blocks),
                "memmap": each(lambda a, b, k=k: memmap.decoded([(a, b)], k), blocks),
            },
        )
        yield (
            f"block, as stored, k = {k}",
            {
                "ours": each(lambda a, b, k=k: store.read_codes(range(a, b), k=k), blocks),
                "memmap": each(lambda a, b, k=k: memmap.stored([(a, b)], k), blocks),
                **{
                    name: each(lambda a, b, k=k, r=reader: r.codes(a, b, k), shards)
                    for name, reader in others.items()
                },
                "naive Zarr": each(lambda a, b, k=k: naive.stored((a, b), k), blocks),
            },
        )
    rng = np.random.default_rng(2)
    spans = list(pairwise(np.cumsum([0, *lengths]).tolist()))
    some = [spans[u] for u in rng.permutation(len(lengths))[:NUM_RANDOM]]
    few = some[:NUM_RANDOM_SLOW]
    first = [(a % (dense.num_frames - (b - a)), b - a) for a, b in some]
    dense_spans = [(a, a + num_frames) for a, num_frames in first]
    for k in ks:
        for frames, opened in cold.items():
            yield (
                f"random utterance, decoded, F = {frames}, k = {k}",
                {
                    "ours": each(lambda a, b, k=k, s=opened: s.read(range(a, b), k=k), some),
                    "memmap": each(lambda a, b, k=k: memmap.decoded([(a, b)], k), some),
                    "dense HDF5": each(dense.rows, dense_spans),
                    "dense HDF5, resizable": each(growing.rows, dense_spans),
                },
            )
        yield (
            f"random utterance, as stored, F = 8192, k = {k}",
            {
                "ours": each(lambda a, b, k=k: store.read_codes(range(a, b), k=k), some),
                "memmap": each(lambda a, b, k=k: memmap.stored([(a, b)], k), some),
                **{
                    name: each(lambda a, b, k=k, r=reader: r.codes(a, b, k), few)
                    for name, reader in others.items()
                },
                "naive Zarr": each(lambda a, b, k=k: naive.stored((a, b), k), few),
            },
        )
    warm = open_store(stores[8192])
    order = rng.permutation(len(lengths)).tolist()
    batches = [(order[a : a + BATCH],) for a in range(0, len(order), BATCH)]
    for k in ks:
        ours = each(lambda run, k=k: warm.read([f"u{u}" for u in run], k=k), batches)
        theirs = each(lambda run, k=k: memmap.decoded([spans[u] for u in run], k), batches)
        for contestant in (ours, theirs):
            contestant.num_frames = store.num_frames
        yield (
            f"loader: an epoch of {BATCH} shuffled utterances a batch, decoded, k = {k}",
            {"ours": ours, "memmap": theirs},
        )


if __name__ == "__main__":
    main()
