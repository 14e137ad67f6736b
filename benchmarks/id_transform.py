"""Would format 2 pay? Code an id by its index among the unused ids of the previous frame.

    python benchmarks/id_transform.py --store work/teacher-.../train.zarr
    python benchmarks/id_transform.py [--classes 3000] [--frames 65536]

Tier by tier: the symbol of rank r in frame t is its index among the ranks of frame t - 1 that
this tier may use (of the same and of earlier tiers), without those that frame t has used
already; an id that is not among them is an escape, and is stored in a separate stream. The first
frame of a chunk refers to no other. Printed for each tier: bytes a frame as stored today, of the
transform after zstd and blosc, the entropy of the symbols (a bound for an order-0 coder), and the
time to invert, which needs frame t - 1 before frame t and is therefore vectorised over chunks.

The second table is of a transform made for numpy: the index in the whole list of the previous
frame, and every 64th frame refers to no other. An index is then a pointer, and pointers are
followed by doubling: six gathers for 64 frames, for any number of pointers.

Shapes: T frames, C classes, K kept ranks, R ranks that a tier may use, W ranks of a tier,
N chunks, F frames of a chunk.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numcodecs import blosc, zstd
from numpy.typing import NDArray
from realistic_posteriors import realistic_posteriors

from storage.format.tiers import Tier, plan_tiers
from storage.read.reader import open_store
from storage.write.top_k import keep_top_k

KEPT = 32
CHUNK_FRAMES = 8192
RESTART_FRAMES = 64

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """`places_TW`: index among the candidates, or the escape; `escaped`: the ids of escapes."""

    places_TW: NDArray[np.uint8]
    escaped: Ids


def encode(ids_TK: Ids, tier: Tier) -> Coded:
    """Code one tier of one chunk, all frames at once."""
    looks = tier.last
    before_TR = np.full((len(ids_TK), looks), -1, np.int64)
    before_TR[1:] = ids_TK[:-1, :looks]
    left_TR = before_TR >= 0
    for rank in range(tier.first - 1):
        left_TR &= before_TR != ids_TK[:, rank, None]
    places, escaped = [], []
    for rank in range(tier.first - 1, tier.last):
        here_TR = left_TR & (before_TR == ids_TK[:, rank, None])
        found_T = here_TR.any(axis=1)
        place_T = (np.cumsum(left_TR, axis=1) * here_TR).sum(axis=1) - 1
        places.append(np.where(found_T, place_T, looks))
        escaped.append(np.where(found_T, -1, ids_TK[:, rank]))
        left_TR &= ~here_TR
    escaped_TW = np.stack(escaped, axis=1)
    return Coded(
        places_TW=np.stack(places, axis=1).astype(np.uint8), escaped=escaped_TW[escaped_TW >= 0]
    )


def decode(chunks: Sequence[Coded], earlier: Sequence[Ids], tier: Tier) -> list[Ids]:
    """Decode one tier of N chunks of F frames: frame t of all chunks, then frame t + 1.

    `earlier` are the ranks before this tier. Plain numpy cannot be vectorised further: a frame
    needs the previous one.
    """
    num_frames, looks = len(chunks[0].places_TW), tier.last
    places_NFW = np.stack([chunk.places_TW for chunk in chunks])
    ids_NFR = np.empty((len(chunks), num_frames, looks), np.int64)
    ids_NFR[:, :, : tier.first - 1] = np.stack(earlier)[:, :, : tier.first - 1]
    escaped = np.concatenate([chunk.escaped for chunk in chunks])
    counts = np.array([len(chunk.escaped) for chunk in chunks])
    next_N = np.cumsum(counts) - counts
    rows_N = np.arange(len(chunks))
    before_NR = np.full((len(chunks), looks), -1, np.int64)
    for frame in range(num_frames):
        left_NR = before_NR >= 0
        for rank in range(tier.first - 1):
            left_NR &= before_NR != ids_NFR[:, frame, rank, None]
        for rank in range(tier.first - 1, tier.last):
            place_N = places_NFW[:, frame, rank - tier.first + 1].astype(np.int64)
            escapes_N = place_N == looks
            at_N = np.argmax(np.cumsum(left_NR, axis=1) > place_N[:, None], axis=1)
            id_N = before_NR[rows_N, at_N]
            id_N[escapes_N] = escaped[next_N[escapes_N]]
            next_N += escapes_N
            ids_NFR[:, frame, rank] = id_N
            left_NR[rows_N[~escapes_N], at_N[~escapes_N]] = False
        before_NR = ids_NFR[:, frame]
    return list(ids_NFR)


def encode_pointers(ids_TK: Ids, tier: Tier) -> Coded:
    """Code one tier of one chunk: indices in the whole list of the previous frame."""
    looks = tier.last
    before_TR = np.full((len(ids_TK), looks), -1, np.int64)
    before_TR[1:] = ids_TK[:-1, :looks]
    before_TR[::RESTART_FRAMES] = -1
    here_TWR = before_TR[:, None, :] == ids_TK[:, tier.columns, None]
    places_TW = np.where(here_TWR.any(axis=2), here_TWR.argmax(axis=2), looks)
    escaped = ids_TK[:, tier.columns][places_TW == looks]
    return Coded(places_TW=places_TW.astype(np.uint8), escaped=escaped)


def decode_pointers(coded: Coded, earlier_TK: Ids, tier: Tier) -> Ids:
    """Decode one tier of one chunk. Escapes and earlier tiers are given; the rest are pointers."""
    num_frames, looks = len(coded.places_TW), tier.last
    ids_TR = np.empty((num_frames, looks), np.uint16)
    ids_TR[:, : tier.first - 1] = earlier_TK[:, : tier.first - 1]
    points_TR = np.arange(num_frames * looks, dtype=np.int32).reshape(num_frames, looks)
    escapes_TW = coded.places_TW == looks
    ids_TR[:, tier.columns][escapes_TW] = coded.escaped
    before_T1 = np.arange(-looks, (num_frames - 1) * looks, looks, dtype=np.int32)[:, None]
    np.add(before_T1, coded.places_TW, out=points_TR[:, tier.columns], where=~escapes_TW)
    points = points_TR.reshape(-1)
    for _ in range(RESTART_FRAMES.bit_length() - 1):
        points = points[points]
    return ids_TR.reshape(-1)[points].reshape(num_frames, looks)


def packed(values: NDArray[np.generic], level: int = 1) -> dict[str, int]:
    """Bytes by codec, for values ordered by rank (all frames of rank 1, ...) and by frame."""
    by_frame = np.ascontiguousarray(values)
    by_rank = np.ascontiguousarray(values.T)
    size = values.dtype.itemsize
    return {
        "blosc": len(blosc.compress(by_frame, b"zstd", level, blosc.BITSHUFFLE, 0, size)),
        "blosc by rank": len(blosc.compress(by_rank, b"zstd", level, blosc.BITSHUFFLE, 0, size)),
        "zstd": len(zstd.compress(by_frame, level)),
        "zstd by rank": len(zstd.compress(by_rank, level)),
    }


def entropy_bytes(symbols_TW: NDArray[np.uint8]) -> float:
    """Sum of the order-0 entropies of each rank's symbols, in bytes."""
    total = 0.0
    for symbols_T in symbols_TW.T:
        counts = np.bincount(symbols_T).astype(np.float64)
        share = counts[counts > 0] / len(symbols_T)
        total -= len(symbols_T) * float((share * np.log2(share)).sum()) / 8
    return total


Encode = Callable[[Ids, Tier], Coded]
Decode = Callable[[list[Coded], list[Ids], Tier], list[Ids]]


def study(ids_TK: Ids, num_classes: int) -> None:
    """Print both tables."""
    used = len(ids_TK) // CHUNK_FRAMES * CHUNK_FRAMES
    chunks = [ids_TK[a : a + CHUNK_FRAMES] for a in range(0, used, CHUNK_FRAMES)]
    kept = ids_TK.shape[1]
    same = [np.isin(b, a).sum() for a, b in pairwise(ids_TK[:2000])]
    bits = int(np.ceil(np.log2(num_classes)))
    print(f"C = {num_classes}, K = {kept}, {used} frames; {np.mean(same):.1f} of {kept} ids are in")
    print(f"the previous frame; {kept} ids of {bits} bits: {kept * bits / 8:.1f} bytes a frame\n")

    def follow(coded: list[Coded], earlier: list[Ids], tier: Tier) -> list[Ids]:
        return [decode_pointers(a, b, tier) for a, b in zip(coded, earlier, strict=True)]

    print_table("what is left", chunks, bits, encode, decode)
    print_table("pointers", chunks, bits, encode_pointers, follow)


def print_table(
    title: str, chunks: list[Ids], bits: int, encode_tier: Encode, decode_tiers: Decode
) -> None:
    """Print bytes a frame, and microseconds to decode a chunk, by tier."""
    print(
        f"| {title}: tier | today, bytes | symbols + escapes, bytes | order-0 bound, bytes "
        "| today, us a chunk | transform, us a chunk |\n|---|---|---|---|---|---|"
    )
    used = CHUNK_FRAMES * len(chunks)
    total = np.zeros(5)
    for index, tier in enumerate(plan_tiers(chunks[0].shape[1])):
        coded = [encode_tier(chunk, tier) for chunk in chunks]
        raw = [np.ascontiguousarray(chunk[:, tier.columns], np.uint16) for chunk in chunks]
        today = sum(packed(values)["zstd" if index == 0 else "blosc"] for values in raw)
        symbols = smallest([one.places_TW for one in coded])
        escapes = smallest([one.escaped.astype(np.uint16)[:, None] for one in coded])
        bound = sum(entropy_bytes(one.places_TW) + len(one.escaped) * bits / 8 for one in coded)
        bodies = [blosc.compress(values, b"zstd", 1, blosc.BITSHUFFLE, 0, 2) for values in raw]
        started = time.perf_counter()
        for body in bodies:
            blosc.decompress(body)
        between = time.perf_counter()
        found = decode_tiers(coded, chunks, tier)
        ended = time.perf_counter()
        for ids, chunk in zip(found, chunks, strict=True):
            np.testing.assert_array_equal(ids, chunk[:, : tier.last])
        micros = 1e6 / len(chunks)
        row = np.array(
            [
                today / used,
                (symbols + escapes) / used,
                bound / used,
                (between - started) * micros,
                (ended - between) * micros,
            ]
        )
        total += row
        print(
            f"| {tier.first}-{tier.last} | {row[0]:.2f} | {row[1]:.2f} = {symbols / used:.2f} + "
            f"{escapes / used:.2f} | {row[2]:.2f} | {row[3]:.0f} | {row[4]:,.0f} |"
        )
    print(
        f"| all | {total[0]:.2f} | {total[1]:.2f} | {total[2]:.2f} | {total[3]:.0f} "
        f"| {total[4]:,.0f} |\n"
    )


def smallest(chunks: Sequence[NDArray[np.generic]]) -> int:
    """Bytes of all chunks with the one codec that is best for their sum."""
    sizes = [packed(values) for values in chunks]
    return min(sum(size[name] for size in sizes) for name in sizes[0])


def main() -> None:
    """Print the tables of a store, or of made posteriors."""
    blosc.use_threads = False
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--classes", type=int, default=3000)
    parser.add_argument("--frames", type=int, default=65_536)
    options = parser.parse_args()
    if options.store is not None:
        store = open_store(options.store)
        frames = range(min(options.frames, store.num_frames))
        ids_TK = store.read(frames, k=store.about.kept).ids_TK
        study(ids_TK.astype(np.int64), store.about.num_classes)
        return
    blocks = realistic_posteriors(options.frames, options.classes, seed=1)
    kept = [keep_top_k(block, KEPT, tiers=plan_tiers(KEPT)).ids_TK for block in blocks]
    study(np.concatenate(kept).astype(np.int64), options.classes)


if __name__ == "__main__":
    main()
