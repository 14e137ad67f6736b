"""RankReader: rows of shards -> ids, codes and tail of the first ranks, joined and checked.

Shapes: T frames, K ranks asked for, R ranks of the opened tiers.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.contents.frame_map import FrameMap, Rows, batches, count_frames, groups
from storage.errors import StoreCorrupt
from storage.format.layout import FrameArray, StoreAbout, count_arrays, ids_fill, tier_arrays
from storage.format.pruning import is_absent
from storage.format.records import Records
from storage.format.tiers import tier_of
from storage.format.value_code import PROB_OF_CODE, STEPS
from storage.place.place import Place
from storage.read.chunk_reader import ChunkReader
from storage.read.rank_join import RankJoin
from storage.read.soft_labels import SoftLabelCodes

BATCH_BYTES = 768 << 10  # of ids and codes joined at a time: they fit in the processor's cache
SMALL_FRAMES = 1024  # buffers for this many frames are kept from one read to the next


class Opened(NamedTuple):
    """What a reader of some ranks opens: ids and codes of its tiers, the last tail, the counts."""

    arrays: tuple[FrameArray, ...]
    row_bytes: int
    last_tier: int


class RankReader(threading.local):
    """Each thread has its own open files and cache: no lock can be held while a process forks."""

    def __init__(
        self, place: Place, records: Records, about: StoreAbout, map: FrameMap, *, cache_bytes: int
    ) -> None:
        self._about = about
        self._map = map
        self._cache_bytes = cache_bytes
        self._opened: dict[int, Opened] = {}
        self._joins: dict[int, RankJoin] = {}
        self._chunks = ChunkReader(
            place,
            records,
            chunk_frames=about.chunk_frames,
            chunks_per_shard=about.shard_frames // about.chunk_frames,
            cache_bytes=cache_bytes,
        )

    def opened(self, k: int) -> Opened:
        """What a reader of k ranks opens."""
        if k not in self._opened:
            last = tier_of(self._about.tiers, k)
            *trios, (ids, val, tail) = (tier_arrays(self._about, t) for t in range(last + 1))
            arrays = (
                *(array for trio in trios for array in trio[:2]),
                *(ids, val, tail),
                *count_arrays(self._about),
            )
            self._opened[k] = Opened(arrays, sum(a.row_bytes for a in arrays), last)
        return self._opened[k]

    def ranks(self, runs: Sequence[Rows], k: int) -> Iterator[tuple[slice, SoftLabelCodes]]:
        """(rows of the result, their values), some frames at a time, which fit in caches.

        The arrays of one step are overwritten by the next one: copy them.

        Raises:
            StoreCorrupt: when bytes are missing or differ, or are no soft labels.
        """
        (arrays, row_bytes, last_tier), at = self.opened(k), 0
        room = max(self._about.chunk_frames, BATCH_BYTES // row_bytes)
        join = self._join_for(min(room, count_frames(runs)), last_tier)
        for batch in self._fetched(arrays, runs, room):
            num_frames = count_frames(batch)
            join.begin(num_frames)
            yield slice(at, at + num_frames), self._read(join, arrays, batch, k)
            at += num_frames

    def values(self, array: FrameArray, runs: Sequence[Rows]) -> NDArray[np.uint8]:
        """The bytes of all rows of one array. Raises as `ranks`."""
        parts = [
            self._chunks.rows(array, run)
            for batch in self._fetched((array,), runs, self._about.chunk_frames)
            for run in batch
        ]
        return np.concatenate([_NOTHING, *parts])

    def _fetched(
        self, arrays: Sequence[FrameArray], runs: Sequence[Rows], room: int
    ) -> Iterator[list[Rows]]:
        """Batches of the runs; a server is asked for as many together as the cache can hold."""
        size = self._about.chunk_frames
        cut = batches(runs, chunk_frames=size, room=room)
        if not self._chunks.is_remote:
            yield from cut
            return
        chunk_bytes = size * sum(array.row_bytes for array in arrays)
        for group in groups(cut, chunk_frames=size, most_chunks=self._cache_bytes // chunk_bytes):
            self._chunks.expect(arrays, [run for batch in group for run in batch])
            yield from group
        self._chunks.drop_expected()

    def _join_for(self, num_frames: int, last_tier: int) -> RankJoin:
        if num_frames > SMALL_FRAMES:
            return self._new_join(num_frames, last_tier)
        if last_tier not in self._joins:
            self._joins[last_tier] = self._new_join(SMALL_FRAMES, last_tier)
        return self._joins[last_tier]

    def _new_join(self, max_frames: int, last_tier: int) -> RankJoin:
        tiers = self._about.tiers[: last_tier + 1]
        return RankJoin(tiers, max_frames=max_frames, ids_dtype=self._about.ids_dtype)

    def _read(
        self, join: RankJoin, arrays: Sequence[FrameArray], batch: Sequence[Rows], k: int
    ) -> SoftLabelCodes:
        end = (len(arrays) - 1) // 2 * 2
        for number, array in enumerate(arrays[:end]):
            put = join.put_differences if number % 2 else join.put_ids
            at = 0
            for run in batch:
                put(number // 2, at, self._chunks.rows(array, run))
                at += run.stop - run.start
        tail_T = self._joined(arrays[end], batch)
        codes_TR, unordered = join.sum_codes(), join.first_unordered()
        count_T = is_absent_TR = None
        for array in arrays[end + 1 :]:
            count_T = self._joined(array, batch).view(f"<u{array.itemsize}")
            is_absent_TR = is_absent(count_T, codes_TR.shape[1])
            self._refuse_other_count(batch, join.ids_TR, codes_TR, count_T, is_absent_TR)
            # Multiplied: numpy assigns under a mask row by row, at ten times the cost.
            np.multiply(join.ids_TR, ~is_absent_TR, out=join.ids_TR)
            np.bitwise_or(codes_TR, is_absent_TR * np.uint8(STEPS), out=codes_TR)
        self._refuse_bad_rows(batch, join.ids_TR, unordered)
        return SoftLabelCodes(
            ids_TK=join.ids_TR[:, :k],
            codes_TK=codes_TR[:, :k],
            tail_T=self._tail_after(k, codes_TR, tail_T, count_T, is_absent_TR),
            count_T=None if count_T is None else np.minimum(count_T, k).astype(np.uint16),
        )

    def _joined(self, array: FrameArray, batch: Sequence[Rows]) -> NDArray[np.uint8]:
        parts = [self._chunks.rows(array, run) for run in batch]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _refuse_other_count(
        self,
        batch: Sequence[Rows],
        ids_TR: NDArray[Any],
        codes_TR: NDArray[np.uint8],
        count_T: NDArray[Any],
        is_absent_TR: NDArray[np.bool_],
    ) -> None:
        """Make sure that ranks are fill, and differences 0, after the count and nowhere before."""
        kept, num_ranks = self._about.kept, ids_TR.shape[1]
        is_wrong_T = (count_T < 1) | (count_T > kept)
        # Codes do not fall: if the last one is that of the last rank, so are those between.
        last_T = np.clip(count_T.astype(np.intp), 1, num_ranks) - 1
        is_wrong_T |= codes_TR[np.arange(len(last_T)), last_T] != codes_TR[:, -1]
        is_other_TR = (ids_TR == ids_fill(self._about)) != is_absent_TR
        if is_other_TR.any():
            is_wrong_T |= is_other_TR.any(axis=1)
        if is_wrong_T.any():
            row = int(np.argmax(is_wrong_T))
            raise StoreCorrupt(
                f"{self._map.name(batch, row)}: found count {count_T[row]}, wanted 1 to {kept}, "
                "classes up to this rank and fill after it: the data are missing"
            )

    def _tail_after(
        self,
        k: int,
        codes_TR: NDArray[np.uint8],
        tail_T: NDArray[np.uint8],
        count_T: NDArray[Any] | None,
        is_absent_TR: NDArray[np.bool_] | None,
    ) -> NDArray[np.float32]:
        """Mass after rank k: the tail of k's tier, and the tier's ranks beyond k."""
        num_ranks, num_classes = codes_TR.shape[1], self._about.num_classes
        if num_ranks == num_classes and count_T is None:
            mass_T = np.zeros(len(tail_T), np.float32)
        else:
            mass_T = np.take(PROB_OF_CODE, tail_T)
        if num_ranks == num_classes and count_T is not None:
            mass_T[count_T == num_classes] = 0
        if k < num_ranks:
            prob_TX = PROB_OF_CODE[codes_TR[:, k:]]
            if is_absent_TR is not None:  # what has no rank is in the tail already
                prob_TX *= ~is_absent_TR[:, k:]
            mass_T += prob_TX.sum(axis=1)
            np.minimum(mass_T, np.float32(1.0), out=mass_T)
        return mass_T

    def _refuse_bad_rows(
        self, runs: Sequence[Rows], ids_TR: NDArray[Any], unordered: int | None
    ) -> None:
        if unordered is not None:
            raise StoreCorrupt(f"{self._map.name(runs, unordered)}: probabilities do not descend")
        num_classes = self._about.num_classes
        if ids_TR.size and int(ids_TR.max()) >= num_classes:
            row = int(np.argmax((ids_TR >= num_classes).any(axis=1)))
            raise StoreCorrupt(
                f"{self._map.name(runs, row)}: a class id is fill or not below "
                f"{num_classes}: the data are missing"
            )


_NOTHING = np.empty(0, np.uint8)
