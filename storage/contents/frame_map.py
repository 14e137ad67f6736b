"""Frame map: where utterances and frames lie in the shards. A pure function of the metadata.

Frames are numbered through the whole store, utterance after utterance.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from storage.contents.metadata import StoreMetadata
from storage.errors import StoreError, StoreIncomplete

NUM_EXAMPLES = 3  # ids that a message names


class Span(NamedTuple):
    """Frames [start, stop) of an utterance."""

    id: str
    start: int
    stop: int


Wanted = Sequence[str | Span] | range  # utterances, whole or in part, or frames of the store


class Rows(NamedTuple):
    """Rows [start, stop) of a shard."""

    shard: int
    start: int
    stop: int


def count_frames(runs: Sequence[Rows]) -> int:
    """Frames of all runs together."""
    return sum(run.stop - run.start for run in runs)


def cut_at_chunks(runs: Iterable[Rows], *, chunk_frames: int) -> Iterator[Rows]:
    """The runs cut where chunks meet: each one lies in one chunk."""
    for shard, start, stop in runs:
        while start < stop:
            end = min(stop, (start // chunk_frames + 1) * chunk_frames)
            yield Rows(shard, start, end)
            start = end


def batches(runs: Iterable[Rows], *, chunk_frames: int, room: int) -> Iterator[list[Rows]]:
    """The runs cut where chunks meet, in batches of at most `room` frames."""
    batch: list[Rows] = []
    left = room
    for run in cut_at_chunks(runs, chunk_frames=chunk_frames):
        num_frames = run.stop - run.start
        if num_frames > left:
            yield batch
            batch, left = [], room
        batch.append(run)
        left -= num_frames
    if batch:
        yield batch


def groups(
    batches: Iterable[list[Rows]], *, chunk_frames: int, most_chunks: int
) -> Iterator[list[list[Rows]]]:
    """Batches that together lie in at most `most_chunks` chunks, or single ones."""
    group: list[list[Rows]] = []
    chunks: set[tuple[int, int]] = set()
    for batch in batches:
        more = {(run.shard, run.start // chunk_frames) for run in batch}
        if group and len(chunks | more) > most_chunks:
            yield group
            group, chunks = [], set()
        group.append(batch)
        chunks |= more
    if group:
        yield group


class FrameMap:
    """Finds utterances and frames. `where` names the store in messages."""

    def __init__(
        self, metadata: StoreMetadata, *, where: str, absent_shards: Sequence[int] = ()
    ) -> None:
        self._where = where
        self._absent_shards = frozenset(absent_shards)
        self._utterances = metadata.utterances
        self._plan = metadata.plan
        held = np.zeros(metadata.plan.num_shards + 1, np.int64)
        lengths_U = metadata.utterances.length_U.astype(np.int64)
        np.add.at(held, metadata.plan.shard_U.astype(np.intp) + 1, lengths_U)
        self._first_frames = np.cumsum(held)  # of each shard, and the end of the last

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._utterances.find(id) is not None

    @property
    def num_frames(self) -> int:
        """Frames of all utterances."""
        return int(self._first_frames[-1])

    def find(self, wanted: Wanted) -> list[Rows]:
        """Where the frames asked for lie, in the order asked.

        Raises:
            StoreError: when an id or a frame is not there.
            StoreIncomplete: when its shard is not there yet.
        """
        if isinstance(wanted, str):
            raise StoreError(f"asked one text {wanted!r}: give a list of utterance ids")
        if isinstance(wanted, range):
            runs = list(self._find_frames(wanted))
        else:
            runs = [
                self._find_span(one) if isinstance(one, Span) else self.find_utterance(one)
                for one in wanted
            ]
        if self._absent_shards:
            self._refuse_absent(runs)
        return runs

    def find_utterance(self, id: str) -> Rows:
        """Where one utterance lies. Raises as `find`."""
        index = self._utterances.find(id)
        if index is None:
            raise StoreError(
                f"{self._where} holds no utterance {id!r}{self._examples()}: was it made for this "
                f"split? 'essence cache list' prints the utterances of a store"
            )
        start, shard = self._plan.offset_U.item(index), self._plan.shard_U.item(index)
        return Rows(shard, start, start + self._utterances.length_U.item(index))

    def _find_span(self, span: Span) -> Rows:
        shard, start, stop = self.find_utterance(span.id)
        if not 0 <= span.start <= span.stop <= stop - start:
            raise StoreError(
                f"utterance {span.id!r} has {stop - start} frames in {self._where}, "
                f"asked {span.start} to {span.stop}: ask for frames inside"
            )
        return Rows(shard, start + span.start, start + span.stop)

    def utterance_frames(self, id: str) -> range:
        """The frames of an utterance, as `find` takes them."""
        shard, start, stop = self.find_utterance(id)
        before = int(self._first_frames[shard])
        return range(before + start, before + stop)

    def shard_frames(self, shard: int) -> range:
        """The frames of a shard, as `find` takes them."""
        start, stop = self._first_frames[shard : shard + 2].tolist()
        return range(start, stop)

    def name(self, runs: Sequence[Rows], row: int) -> str:
        """Store, shard, utterance and frame of a row that was read from `runs`, for a message."""
        ends = np.cumsum([run.stop - run.start for run in runs])
        found = int(np.searchsorted(ends, row, side="right"))
        shard, _, stop = runs[found]
        offset = stop - (int(ends[found]) - row)
        index = next(
            index
            for index in reversed(self._plan.utterances(shard))
            if self._plan.offset_U[index] <= offset and self._utterances.length_U[index]
        )
        return (
            f"{self._where}, shard {shard}, utterance {self._utterances[index].id!r}, "
            f"frame {offset - int(self._plan.offset_U[index])}"
        )

    def _examples(self) -> str:
        ids = [repr(row.id) for row in self._utterances[:NUM_EXAMPLES]]
        return f", it has {len(self._utterances):,}, such as {', '.join(ids)}" if ids else ""

    def _refuse_absent(self, runs: Sequence[Rows]) -> None:
        for run in runs:
            if run.shard in self._absent_shards and run.start < run.stop:
                raise StoreIncomplete(
                    f"{self._where} is under construction: shard {run.shard} is not there yet"
                )

    def _find_frames(self, wanted: range) -> Iterator[Rows]:
        if wanted.step != 1 or (wanted and not 0 <= wanted.start <= wanted.stop <= self.num_frames):
            raise StoreError(
                f"{self._where} holds frames 0 to {self.num_frames}, asked {wanted}: "
                "ask for a range inside, of step 1"
            )
        if not wanted:
            return
        shard = int(np.searchsorted(self._first_frames, wanted.start, side="right")) - 1
        while wanted.stop > self._first_frames[shard]:
            held = self.shard_frames(shard)
            start, stop = max(wanted.start, held.start), min(wanted.stop, held.stop)
            if start < stop:
                yield Rows(shard, start - held.start, stop - held.start)
            if wanted.stop <= held.stop:
                return
            shard += 1
