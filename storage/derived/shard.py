"""Derived shard: the objects of a shard that is made from sealed stores.

Taken whole, they are the source's bytes, compared with its manifest. Encoded again, values are
copied as codes, without decoding; values that a reader would refuse are refused here.

Shapes: T frames of the shard, F rows of an inner chunk, B bytes of a row.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.contents.commits import shard_objects
from storage.contents.contents import StoreContents
from storage.contents.frame_map import FrameMap, Rows, cut_at_chunks
from storage.contents.manifest import read_objects
from storage.derived.plan import ShardRecipe, Take
from storage.errors import StoreCorrupt
from storage.format.layout import COUNT, FrameArray, StoreAbout, frame_arrays
from storage.format.pruning import is_absent
from storage.format.shard_object import check_crc, chunk_checksums, decompress
from storage.read.chunk_reader import ChunkReader
from storage.write.shard_encoder import ShardObject, encode_chunk

CACHE_BYTES = 64 << 20
LARGEST_CODE = 255


def taken_objects(source: StoreContents, shard: int, *, as_shard: int) -> dict[str, bytes]:
    """A shard's objects as they are, under the names of the new shard.

    Raises:
        StoreCorrupt: when one is missing, differs from the manifest, or lacks a chunk.
    """
    metadata, listed = source.metadata, source.records
    names = shard_objects(metadata, shard)
    for name in names:
        if name not in listed:
            raise StoreCorrupt(f"{source.place}: the manifest does not list {name}")
    rows = metadata.plan.utterances(shard)
    num_frames = sum(metadata.utterances[row].num_frames for row in rows)
    contents = dict(read_objects(source.place, {name: listed[name] for name in names}))
    for name, content in contents.items():
        _refuse_odd_chunks(source, name, content, num_frames=num_frames)
    arrays = frame_arrays(metadata.about) if names else ()
    return {a.object_name(as_shard): contents[a.object_name(shard)] for a in arrays}


def _refuse_odd_chunks(
    source: StoreContents, name: str, content: bytes, *, num_frames: int
) -> None:
    """Make sure that inner chunks are the manifest's, and present exactly where rows are."""
    num_chunks = _num_chunks(source.metadata.about)
    found = tuple(chunk_checksums(content, num_chunks))
    if found != source.records[name].chunks:
        raise StoreCorrupt(
            f"{source.place.where(name)}: the crc32c of its chunks are not the manifest's"
        )
    num_held = -(-num_frames // source.metadata.about.chunk_frames)
    if [chunk is not None for chunk in found] != [at < num_held for at in range(num_chunks)]:
        raise StoreCorrupt(
            f"{source.place.where(name)}: wanted the first {num_held} chunks, no others"
        )


class ShardRecoder:
    """Encodes shards of utterances that lie in sealed stores."""

    def __init__(self, about: StoreAbout, sources: Sequence[StoreContents]) -> None:
        self._about = about
        self._maps = [FrameMap(s.metadata, where=str(s.place)) for s in sources]
        self._sources = sources
        self._readers = [
            ChunkReader(
                source.place,
                source.records,
                chunk_frames=source.metadata.about.chunk_frames,
                chunks_per_shard=_num_chunks(source.metadata.about),
                cache_bytes=CACHE_BYTES,
            )
            for source in sources
        ]

    def objects(self, recipe: ShardRecipe, *, as_shard: int) -> dict[str, bytes]:
        """The objects of a shard of these utterances.

        Raises:
            StoreCorrupt: when what is read is damaged, or no soft labels.
        """
        lengths = [row.num_frames for take in recipe.takes for row in self._rows(take)]
        if not sum(lengths):
            return {}
        codes_T = np.zeros(sum(lengths), np.uint32)
        count_T = np.full(sum(lengths), self._about.kept)
        objects = {}
        for array in frame_arrays(self._about):
            made, at = ShardObject(), 0
            for rows_FB in _chunks(self._stored(array, recipe), self._about.chunk_frames, array):
                values = _typed(rows_FB, array)
                here = slice(at, at + len(values))
                if array.name == COUNT:
                    count_T[here] = values
                self._refuse_bad(array, values, codes_T[here], count_T[here], recipe, at)
                chunk = encode_chunk(array, values, self._about.chunk_frames)
                _refuse_changed(chunk, array, rows_FB, self._about.chunk_frames)
                made.chunks.append(chunk)
                at += len(values)
            objects[array.object_name(as_shard)] = made.to_bytes(_num_chunks(self._about))
        return objects

    def _rows(self, take: Take) -> Iterator[Any]:
        table = self._sources[take.source].metadata.utterances
        return (table[row] for row in take.rows)

    def _runs(self, take: Take) -> list[Rows]:
        """Where the frames lie; neighbours are read as one."""
        joined: list[Rows] = []
        for row in self._rows(take):
            run = self._maps[take.source].find_utterance(row.id)
            if joined and joined[-1].shard == run.shard and joined[-1].stop == run.start:
                run = joined.pop()._replace(stop=run.stop)
            joined.append(run)
        return joined

    def _stored(self, array: FrameArray, recipe: ShardRecipe) -> Iterator[NDArray[np.uint8]]:
        """Rows of an array as they are stored, (any, B)."""
        for take in recipe.takes:
            reader, about = self._readers[take.source], self._sources[take.source].metadata.about
            # The codec is the source's, which may be another than that of the new store.
            stored = replace(array, codec=about.coding.codec_of(array.name))
            for run in cut_at_chunks(self._runs(take), chunk_frames=about.chunk_frames):
                yield reader.rows(stored, run).reshape(-1, array.row_bytes)

    def _refuse_bad(
        self,
        array: FrameArray,
        values: NDArray[Any],
        codes_T: NDArray[np.uint32],
        count_T: NDArray[Any],
        recipe: ShardRecipe,
        at: int,
    ) -> None:
        """Make the checks of a reader.

        `codes_T` sums the differences, tier by tier: a sum above 255 is a code that fell.
        `count_T` are the ranks of each frame.
        """
        if array.name == COUNT:
            wrong_TX = ((values < 1) | (values > self._about.kept))[:, None]
            text = f"the count is not in 1 to {self._about.kept}"
        elif array.name.startswith("ids_"):
            is_absent_TX = self._is_absent(array, count_T)
            is_fill_TX = values == array.fill
            wrong_TX = np.where(is_absent_TX, ~is_fill_TX, values >= self._about.num_classes)
            text = "a class id is fill or out of range, or one after the count is not fill"
        elif array.name.startswith("val_"):
            is_absent_TX = self._is_absent(array, count_T)
            codes_T += values.sum(axis=1, dtype=np.uint32)
            wrong_TX = (codes_T[:, None] > LARGEST_CODE) | (is_absent_TX & (values != 0))
            text = "probabilities do not descend, or a rank after the count has one"
        elif array.name.startswith("log_norm_"):
            wrong_TX, text = ~np.isfinite(values)[:, None], f"{array.name} is not finite"
        else:
            return
        if wrong_TX.any():
            frame = at + int(np.argmax(wrong_TX.any(axis=1)))
            runs = [(take.source, run) for take in recipe.takes for run in self._runs(take)]
            raise StoreCorrupt(f"{self._name(runs, frame)}: {text}")

    def _is_absent(self, array: FrameArray, count_T: NDArray[Any]) -> NDArray[np.bool_]:
        """Which ranks of this array are after the last of their frame."""
        tier = self._about.tiers[int(array.name.partition("_")[2])]
        return is_absent(count_T, tier.last)[:, tier.columns]

    def _name(self, runs: Sequence[tuple[int, Rows]], frame: int) -> str:
        for source, run in runs:
            if frame < run.stop - run.start:
                return self._maps[source].name([run], frame)
            frame -= run.stop - run.start
        raise AssertionError("the frame is of this shard")


def _refuse_changed(
    chunk: bytes, array: FrameArray, rows_FB: NDArray[np.uint8], chunk_frames: int
) -> None:
    """Make sure that an encoded chunk gives back its rows, before those of the source go."""
    num_bytes, where = chunk_frames * array.row_bytes, f"an encoded chunk of {array.name}"
    body = check_crc(chunk, where=where)
    found = decompress(body, array.codec.name, num_bytes=num_bytes, where=where)
    if not np.array_equal(found[: rows_FB.size], rows_FB.reshape(-1)):
        raise StoreCorrupt(f"{where} does not return what was stored: run a memory test")


def _num_chunks(about: StoreAbout) -> int:
    return about.shard_frames // about.chunk_frames


def _typed(rows_FB: NDArray[np.uint8], array: FrameArray) -> NDArray[Any]:
    """Rows of bytes as values: (rows, width), or (rows) of an array without a second dimension."""
    values = rows_FB.view(np.dtype(array.dtype).newbyteorder("<"))
    return values if array.width is not None else values[:, 0]


def _chunks(
    blocks: Iterable[NDArray[np.uint8]], chunk_frames: int, array: FrameArray
) -> Iterator[NDArray[np.uint8]]:
    """Blocks of any size -> (F, B), the last one shorter. Each is overwritten by the next."""
    room_FB = np.empty((chunk_frames, array.row_bytes), np.uint8)
    held = 0
    for block in blocks:
        start = 0
        while start < len(block):
            count = min(len(block) - start, chunk_frames - held)
            room_FB[held : held + count] = block[start : start + count]
            held, start = held + count, start + count
            if held == chunk_frames:
                yield room_FB
                held = 0
    if held:
        yield room_FB[:held]
