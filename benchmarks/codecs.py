"""The codecs of a store: bytes, encoding, decompression and reading, relative to format 1.

    python benchmarks/codecs.py [--classes 3000,9000] [--frames 65536] [--rounds 7]
    python benchmarks/codecs.py --store work/teacher-.../train.zarr

The frames are made from a seed, or those of a store. Time is that of the processor, on one core,
from memory; a ratio is taken within a round, and above 1 the codec is faster than format 1.
`random` decompresses the blocks of 250 frames of each array. The second table is of whole stores,
through encoder and reader.

Shapes: T frames, F rows of a chunk.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from posterior_sources import Posteriors, from_seed, from_store
from side_by_side import Contestant, each, machine, print_ratios
from store_contestants import make_about, write_store

from storage.format.codec import BLOSC_LZ4, CODINGS, FORMAT_1, Codec, Coding
from storage.format.layout import FrameArray, StoreAbout, frame_arrays
from storage.format.shard_object import compress, decompress
from storage.read.blosc_blocks import decompress_part, num_blocks
from storage.read.reader import open_store
from storage.write.shard_encoder import encode_shard, shard_values
from storage.write.top_k import KeptBlock, cut_block

CHUNK_FRAMES = 8192
RANDOM_FRAMES = 250
NUM_RANDOM = 40
BLOCK_FRAMES = 32_768
NUM_UTTERANCES = 64  # of a measurement
Chunk = tuple[FrameArray, NDArray[np.uint8]]

CONTESTANTS = {
    "format 1": FORMAT_1,
    "lz4, as written": CODINGS["lz4"],
    "lz4 9 for all": Coding(2, BLOSC_LZ4),
    "lz4 1 for all": Coding(2, replace(BLOSC_LZ4, level=1)),
    **{
        f"lz4 9, blocks of {size}": replace(
            CODINGS["lz4"], usual=replace(BLOSC_LZ4, block_bytes=size)
        )
        for size in (0, 2048, 32_768, 1 << 17)
    },
    **{
        f"zstd 1, blocks of {size}": replace(
            CODINGS["zstd"], usual=Codec("blosc", 1, "zstd", "bitshuffle", size)
        )
        for size in (4096, 16_384)
    },
}


def main() -> None:
    """Print both tables for each set of frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classes", default="3000,9000")
    parser.add_argument("--frames", type=int, default=65_536)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--store", type=Path, help="a sealed store, instead of made posteriors")
    options = parser.parse_args()
    print(machine())
    if options.store:
        compare(from_store(open_store(options.store)), options.frames, options.rounds)
        return
    for classes in options.classes.split(","):
        compare(from_seed(options.frames, int(classes)), options.frames, options.rounds)


def compare(posteriors: Posteriors, num_frames: int, rounds: int) -> None:
    """Print the tables of one set of frames: of the first `num_frames`, and of all."""
    kept, num_classes = posteriors.kept, posteriors.num_classes
    about = make_about(num_classes, kept.ids_TK.shape[1], posteriors.lengths, CHUNK_FRAMES)
    print(f"\n## C = {num_classes}, K = {about.kept}: {len(kept.ids_TK)} frames\n")
    print_codecs(about, cut_block(kept, 0, num_frames), rounds)
    print_stores(posteriors, about, rounds)


def print_codecs(about: StoreAbout, kept: KeptBlock, rounds: int) -> None:
    """Bytes a frame, and times relative to format 1, of whole chunks."""
    chunks = [
        (array, np.ascontiguousarray(values[array.name]).reshape(-1).view(np.uint8))
        for start in range(0, len(kept.ids_TK) - CHUNK_FRAMES + 1, CHUNK_FRAMES)
        for values in [shard_values(about, cut_block(kept, start, start + CHUNK_FRAMES))]
        for array in frame_arrays(about)
    ]
    seconds: dict[str, list[tuple[float, ...]]] = {name: [] for name in CONTESTANTS}
    sizes: dict[str, float] = {}
    rng = np.random.default_rng(3)
    num_frames = CHUNK_FRAMES * len(chunks) // len(frame_arrays(about))
    for _ in range(rounds):
        for name in rng.permutation(list(CONTESTANTS)).tolist():
            took, num_bytes = measure(chunks, CONTESTANTS[name])
            seconds[name].append(took)
            sizes[name] = num_bytes / num_frames
    print("| codecs | bytes a frame | of format 1 | encode | decompress | random |")
    print("|---|---|---|---|---|---|")
    for name in CONTESTANTS:
        size = sizes[name]
        ratios = [
            [first / other for first, other in zip(*pair, strict=True)]
            for pair in zip(seconds["format 1"], seconds[name], strict=True)
        ]
        cells = [
            f"{statistics.median(column):.2f} ({min(column):.2f} to {max(column):.2f})"
            for column in zip(*ratios, strict=True)
        ]
        share = size / sizes["format 1"]
        print(f"| {name} | {size:.2f} | {share:.3f} | {' | '.join(cells)} |")
    print()


def measure(chunks: Sequence[Chunk], coding: Coding) -> tuple[tuple[float, ...], int]:
    """Seconds to encode, to decompress, to decompress parts at random; bytes with checksums."""
    codecs = [coding.codec_of(array.name) for array, _ in chunks]
    clock = [time.process_time()]
    bodies = [
        compress(codec, flat, item_bytes=array.itemsize)
        for codec, (array, flat) in zip(codecs, chunks, strict=True)
    ]
    clock.append(time.process_time())
    stored = list(zip(codecs, chunks, bodies, strict=True))
    for codec, (_, flat), body in stored:
        decompress(body, codec.name, num_bytes=len(flat), where="here")
    clock.append(time.process_time())
    starts = np.random.default_rng(0).integers(0, CHUNK_FRAMES - RANDOM_FRAMES, NUM_RANDOM)
    for start in starts.tolist():
        for codec, (array, flat), body in stored[: len(stored) // 4]:
            begin, end = (row * array.row_bytes for row in (start, start + RANDOM_FRAMES))
            if codec.name == "blosc" and num_blocks(body, num_bytes=len(flat)) > 1:
                decompress_part(body, begin, end)
            else:
                decompress(body, codec.name, num_bytes=len(flat), where="here")
    clock.append(time.process_time())
    return tuple(b - a for a, b in pairwise(clock)), sum(len(body) + 4 for body in bodies)


def print_stores(posteriors: Posteriors, about: StoreAbout, rounds: int) -> None:
    """Encoding and reading of whole stores; above 1 lz4 is faster."""
    kept, lengths = posteriors.kept, posteriors.lengths
    abouts = {"ours": about, "format 1": replace(about, coding=FORMAT_1)}
    print("| lz4, as written | million frames/s | against | ratio |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        stores = {}
        for name, each_about in abouts.items():
            write_store(Path(folder) / name, each_about, kept, lengths)
            stores[name] = open_store(Path(folder) / name, cache_bytes=0)
        ours = stores["ours"]
        shard = cut_block(kept, 0, len(ours.shard_frames(0)))
        encoders = {
            name: Contestant(lambda a=a: encode_shard(a, [shard], shard=0), shard)  # type: ignore[misc]
            for name, a in abouts.items()
        }
        print_ratios("encode", encoders, rounds)
        blocks = list(pairwise([*range(0, ours.num_frames, BLOCK_FRAMES), ours.num_frames]))
        spans = list(pairwise(np.cumsum([0, *lengths]).tolist()))
        order = np.random.default_rng(2).permutation(len(spans))
        some = [spans[u] for u in order[:NUM_UTTERANCES]]
        for k in (1, 8, about.kept):
            for title, runs in (("block", blocks), ("random utterance", some)):
                readers = {
                    name: each(lambda a, b, k=k, s=s: s.read(range(a, b), k=k), runs)
                    for name, s in stores.items()
                }
                print_ratios(f"{title}, k = {k}", readers, rounds)
    print()


if __name__ == "__main__":
    main()
