"""corpus file -> batches: whole utterances of like length, in an order drawn from (seed, epoch).

The plan is a pure function; reading a batch touches the file. Utterances longer than
`chunk_frames` are cut into pieces, so that one recording of ten hours does not fill the memory.

Shapes: B pieces, T frames of the longest, F feature dims, N real frames of a batch.
"""

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from queue import SimpleQueue
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from storage.corpus.corpus_file import NO_LABEL, CorpusFile

BUFFER_BATCHES = 32  # lengths are sorted within so many batches: 5 % padding, much shuffling
BATCHES_AHEAD = 2
PATIENCE_SECONDS = 5.0  # for a read that is under way when nobody wants it any more

Planned = TypeVar("Planned")
Ready = TypeVar("Ready")


class LabelSource(Protocol):
    """Hard labels of a split's utterances, by their index: a corpus file's own, or others."""

    def labels(self, index: int, *, span: tuple[int, int] | None = None) -> NDArray[np.int32]:
        """Hard labels of the utterance, or of its frames [start, end); NO_LABEL where unknown."""

    def labelled_frames(self) -> NDArray[np.int64]:
        """How many frames of each utterance have a hard label, (utterances,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Frames [start, start + num_frames) of the utterance at `index`."""

    index: int
    start: int
    num_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Padded features and labels; `lengths_B` says where padding begins.

    `features_BTF` float32, zero behind the end; `labels_BT` int64, NO_LABEL behind the end.
    """

    pieces: tuple[Piece, ...]
    ids: tuple[str, ...]
    features_BTF: Tensor
    labels_BT: Tensor
    lengths_B: Tensor

    @property
    def num_frames(self) -> int:
        """N: real frames, padding apart."""
        return sum(piece.num_frames for piece in self.pieces)

    @property
    def live_BT(self) -> Tensor:
        """True on real frames: `values_BT[live_BT]` are the N real ones, piece after piece."""
        return torch.arange(self.features_BTF.shape[1]) < self.lengths_B[:, None]


def cut_pieces(
    lengths: Sequence[int],
    chunk_frames: int,
    *,
    is_whole_U: NDArray[np.bool_] | None = None,
) -> list[Piece]:
    """Every utterance whole, or in even pieces of at most `chunk_frames`. Empty ones give none.

    Utterances of `is_whole_U` are not cut: a sequence of tokens is that of all their frames.
    """
    pieces = []
    for index, length in enumerate(lengths):
        num_pieces = -(-length // chunk_frames)
        if length and is_whole_U is not None and is_whole_U[index]:
            num_pieces = 1
        bounds = [length * i // num_pieces for i in range(num_pieces + 1)] if length else [0]
        pieces += [
            Piece(index=index, start=start, num_frames=end - start)
            for start, end in pairwise(bounds)
        ]
    return pieces


def plan_batches(
    lengths: Sequence[int], batch_frames: int, seed: int, epoch: int, *, block_frames: int = 0
) -> list[list[int]]:
    """Which utterances go together, in which order. Each non-empty one comes exactly once.

    A batch has at most `batch_frames` real frames, or is one longer utterance. Utterances are
    shuffled, sorted by length within a buffer of BUFFER_BATCHES batches, cut into batches, and
    the batches are shuffled.

    With `block_frames`, neighbours stay together, for disks on which every place costs: blocks
    of so many frames are shuffled instead, then the utterances and the batches of each buffer.
    """
    rng = np.random.default_rng([seed, epoch])
    if block_frames:
        return _plan_by_blocks(lengths, batch_frames, block_frames, rng)
    order = [int(i) for i in rng.permutation(len(lengths)) if lengths[i] > 0]
    batches = [
        batch
        for buffer in _cut(order, lengths, BUFFER_BATCHES * batch_frames)
        for batch in _cut_by_length(buffer, lengths, batch_frames)
    ]
    return [batches[i] for i in rng.permutation(len(batches))]


def _plan_by_blocks(
    lengths: Sequence[int], batch_frames: int, block_frames: int, rng: np.random.Generator
) -> list[list[int]]:
    blocks = _cut([i for i, length in enumerate(lengths) if length > 0], lengths, block_frames)
    order = [i for block in rng.permutation(len(blocks)) for i in blocks[block]]
    plan = []
    for buffer in _cut(order, lengths, BUFFER_BATCHES * batch_frames):
        shuffled = [buffer[i] for i in rng.permutation(len(buffer))]
        batches = _cut_by_length(shuffled, lengths, batch_frames)
        plan += [batches[i] for i in rng.permutation(len(batches))]
    return plan


def _cut_by_length(
    buffer: Sequence[int], lengths: Sequence[int], batch_frames: int
) -> list[list[int]]:
    return _cut(sorted(buffer, key=lambda i: lengths[i]), lengths, batch_frames)


def _cut(order: Iterable[int], lengths: Sequence[int], most_frames: int) -> list[list[int]]:
    groups: list[list[int]] = []
    room = 0
    for index in order:
        if not groups or lengths[index] > room:
            groups.append([])
            room = most_frames
        groups[-1].append(index)
        room -= lengths[index]
    return groups


def read_batch(
    corpus: CorpusFile, pieces: Sequence[Piece], *, labels: LabelSource | None = None
) -> Batch:
    """The features and labels of some pieces. None of them is empty.

    `labels` are read in place of the corpus file's own.
    """
    source = corpus if labels is None else labels
    longest = max(piece.num_frames for piece in pieces)
    features_BTF = np.zeros((len(pieces), longest, corpus.about.feature_dim), np.float32)
    labels_BT = np.full((len(pieces), longest), NO_LABEL, np.int64)
    for row, piece in enumerate(pieces):
        span = (piece.start, piece.start + piece.num_frames)
        features_BTF[row, : piece.num_frames] = corpus.features(piece.index, span=span)
        labels_BT[row, : piece.num_frames] = source.labels(piece.index, span=span)
    return Batch(
        pieces=tuple(pieces),
        ids=tuple(corpus.utterances[piece.index].id for piece in pieces),
        features_BTF=torch.from_numpy(features_BTF),
        labels_BT=torch.from_numpy(labels_BT),
        lengths_B=torch.tensor([piece.num_frames for piece in pieces]),
    )


def read_ahead(plan: Iterable[Planned], read: Callable[[Planned], Ready]) -> Generator[Ready]:
    """`read` of each planned batch, in order; one thread reads while the last is worked on.

    An error in the thread is raised here, as it is. At the end, or when the caller leaves, the
    thread is waited for; not for ever: a disk that hangs must not keep a Ctrl-C from working.
    """
    ready: SimpleQueue[Ready | BaseException | None] = SimpleQueue()
    room = threading.Semaphore(BATCHES_AHEAD + 1)
    is_left = threading.Event()

    def work() -> None:
        try:
            for planned in plan:
                room.acquire()
                if is_left.is_set():
                    return
                ready.put(read(planned))
            ready.put(None)
        except BaseException as error:  # noqa: BLE001  raised again by who waits
            ready.put(error)

    thread = threading.Thread(target=work, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (batch := ready.get()) is not None:
            if isinstance(batch, BaseException):
                raise batch
            yield batch
            room.release()
    finally:
        is_left.set()
        room.release()
        thread.join(PATIENCE_SECONDS)
