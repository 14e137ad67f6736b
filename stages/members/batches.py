"""Batches: utterances of a corpus file that go through a member together.

The caller plans them once and gives every member the same ones. The plan depends on the utterance
table alone, since another batch moves the last bits of a model's output.

An utterance longer than cutting.PIECE_FRAMES goes alone, in pieces with context on either side.

Shapes: B pieces, T frames of the longest, F feature dims.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stages.acoustic.models import pieces as cutting
from storage.corpus.corpus_file import CorpusFile
from storage.corpus.utterance import Utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Frames [start, stop) of the utterance at `index`, read with context as [first, last)."""

    index: int
    utterance: Utterance
    first: int
    start: int
    stop: int
    last: int

    @property
    def num_frames(self) -> int:
        """Frames without context."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Padded features, on the device that computes; `lengths_B` (int64, CPU) includes context.

    `features_BTF` is float32 and zero past an utterance's end; F is 0 if no member reads features.
    Every length is at least 1.
    """

    split: str
    corpus_fingerprint: str
    pieces: tuple[Piece, ...]
    features_BTF: Tensor
    lengths_B: Tensor

    def only(self, rows: Sequence[int]) -> "Batch":
        """The batch of some of its pieces, with no more padding than those need."""
        if len(rows) == len(self.pieces):
            return self
        lengths_B = self.lengths_B[list(rows)]
        features_BTF = self.features_BTF[list(rows), : int(lengths_B.max())]
        return replace(
            self,
            pieces=tuple(self.pieces[row] for row in rows),
            features_BTF=features_BTF.contiguous(),
            lengths_B=lengths_B,
        )

    def without_context(self, values_BTC: Tensor) -> Iterator[tuple[Piece, Tensor]]:
        """Each piece with its rows (T, C) of a result, without padding and context."""
        for piece, values_TC in zip(self.pieces, values_BTC, strict=True):
            yield piece, values_TC[piece.start - piece.first : piece.stop - piece.first]


def plan_batches(
    utterances: Sequence[Utterance], indices: Iterable[int], *, batch_frames: int
) -> Iterator[tuple[Piece, ...]]:
    """Which pieces go together, in the order of `indices`: each frame of theirs exactly once.

    A batch has at most `batch_frames` frames, padding included, or is one piece.
    """
    for group in _groups(utterances, indices, batch_frames=batch_frames):
        rows = [(index, utterances[index]) for index in group]
        if rows[0][1].num_frames > cutting.PIECE_FRAMES:
            yield from ((piece,) for piece in _cut(*rows[0]))
        elif pieces := tuple(_whole(index, row) for index, row in rows if row.num_frames):
            yield pieces


def _groups(
    utterances: Sequence[Utterance], indices: Iterable[int], *, batch_frames: int
) -> Iterator[list[int]]:
    # An empty utterance takes a row although nothing of it is read: without it batches would be
    # others than those of stores that exist, and so would the last bits of what they hold.
    group: list[int] = []
    longest = 0
    for index in indices:
        length = utterances[index].num_frames
        longest = max(longest, length)
        is_long = longest > cutting.PIECE_FRAMES
        if group and (is_long or (len(group) + 1) * longest > batch_frames):
            yield group
            group, longest = [], length
        group.append(index)
        if is_long:
            yield group
            group, longest = [], 0
    if group:
        yield group


def _whole(index: int, row: Utterance) -> Piece:
    end = row.num_frames
    return Piece(index=index, utterance=row, first=0, start=0, stop=end, last=end)


def _cut(index: int, row: Utterance) -> Iterator[Piece]:
    for first, start, stop, last in cutting.cut_frames(row.num_frames):
        yield Piece(index=index, utterance=row, first=first, start=start, stop=stop, last=last)


def read_batch(
    corpus: CorpusFile, pieces: Sequence[Piece], *, device: str, with_features: bool
) -> Batch:
    """Read the features of some pieces and move them to `device`."""
    lengths = [piece.last - piece.first for piece in pieces]
    feature_dim = corpus.about.feature_dim if with_features else 0
    features_BTF = torch.zeros(len(pieces), max(lengths), feature_dim)
    if with_features:
        for row, piece in enumerate(pieces):
            block_TF = corpus.features(piece.index, span=(piece.first, piece.last))
            features_BTF[row, : lengths[row]] = torch.from_numpy(block_TF)
    return Batch(
        split=corpus.about.split,
        corpus_fingerprint=corpus.fingerprint,
        pieces=tuple(pieces),
        features_BTF=features_BTF.to(device),
        lengths_B=torch.tensor(lengths),
    )
