"""ContentCheck: features and hard labels against the digests in the utterance table.

HDF5's Fletcher-32 accepts a chunk of zeros (a hole in a sparse copy) or of 0xFF, and a sound chunk
in the place of another one. The digests were taken of what was written (`CorpusWriter.add`), and
the table is covered by the file's fingerprint.

Shapes: T frames, F feature dims.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from storage.errors import CorpusFileError
from storage.files.fingerprint import SHORT

BLOCK_FRAMES = 1 << 13  # in memory at a time: an utterance may have ten hours
REMEDY = "remove the corpus directory and run 'essence corpus' again"


class Row(Protocol):
    """A row of the utterance table."""

    @property
    def id(self) -> str:
        """Utterance id."""

    @property
    def digest(self) -> str:
        """Of its features and hard labels, when they were written."""

    @property
    def first_frame(self) -> int:
        """Position in the file."""

    @property
    def num_frames(self) -> int:
        """T."""


Read = Callable[[slice, str], NDArray[Any]]  # frames of the file, utterance for messages


@dataclass(slots=True)
class ContentCheck:
    """Utterances that were compared with their digests since the file was opened."""

    path: Path
    rows: Sequence[Row]
    read_features: Read
    read_labels: Read
    labels_digest: str | None  # of all labels; None in files of earlier versions
    _checked: bytearray = field(init=False)
    _labels_are_checked: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        # An empty utterance has no content: its row of the table is all of it.
        self._checked = bytearray(row.num_frames == 0 for row in self.rows)

    def utterance(self, index: int) -> None:
        """Compare one utterance with its digest, unless that was done.

        Raises:
            CorpusFileError: naming the utterance.
        """
        if not self._checked[index]:
            row = self.rows[index]
            self._run(row.first_frame, row.first_frame + row.num_frames, first=index, name=row.id)

    def labels_of(self, index: int) -> None:
        """Make sure that the hard labels of an utterance were compared: alone, where possible."""
        if not self._checked[index]:
            self.labels() if self.labels_digest else self.utterance(index)

    def labels(self) -> None:
        """Compare all hard labels with their digest, unless that was done: features stay unread.

        Raises:
            CorpusFileError: naming the first utterance that differs.
        """
        if self._labels_are_checked:
            return
        if self._found_labels_digest() != self.labels_digest:
            self.everything()
            if self.labels_digest is not None:
                raise CorpusFileError(
                    f"{self.path}: the digest of all hard labels has changed: {REMEDY}"
                )
        self._labels_are_checked = True

    def _found_labels_digest(self) -> str | None:
        if self.labels_digest is None:
            return ""
        digest, end = hashlib.sha256(), self._num_frames
        for start in range(0, end, BLOCK_FRAMES):
            labels_T = self.read_labels(slice(start, min(end, start + BLOCK_FRAMES)), "all")
            digest.update(little_endian(labels_T))
        return digest.hexdigest()

    def everything(self, advance: Callable[[int], None] = lambda _: None) -> None:
        """Compare all utterances. `advance` gets numbers of frames.

        Raises:
            CorpusFileError: naming the first utterance that differs.
        """
        self._run(0, self._num_frames, first=0, name="all", advance=advance)

    @property
    def _num_frames(self) -> int:
        return self.rows[-1].first_frame + self.rows[-1].num_frames if self.rows else 0

    def _run(
        self,
        begin: int,
        end: int,
        *,
        first: int,
        name: str,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        check = self.in_order(first=first)
        for start in range(begin, end, BLOCK_FRAMES):
            frames = slice(start, min(end, start + BLOCK_FRAMES))
            check.add(self.read_features(frames, name), start=start)
            advance(frames.stop - frames.start)

    def in_order(self, *, first: int = 0) -> "InOrder":
        """A check that gets the features block by block, from utterance `first` on."""
        return InOrder(self, first)

    def compare(self, index: int, found: str) -> None:
        """Compare the digest of an utterance with the table's."""
        row = self.rows[index]
        if found != row.digest:
            raise CorpusFileError(
                f"{self.path}, utterance {row.id!r}: features or hard labels are not those that "
                f"were written (found sha256 {found[:SHORT]}, wanted {row.digest[:SHORT]}): "
                f"{REMEDY}"
            )
        self._checked[index] = 1


class InOrder:
    """Digests of successive utterances, as `array_digest` of both arrays, from blocks."""

    def __init__(self, content: ContentCheck, first: int) -> None:
        self._content = content
        self._index = first
        self._done = 0  # frames of the utterance at `_index` that were added
        self._digest = hashlib.sha256()
        self._labels = bytearray()  # hashed after the features, as the writer does it

    def add(self, features_TF: NDArray[Any], *, start: int) -> None:
        """The next frames of the file, from frame `start` on, in their stored dtype.

        Raises:
            CorpusFileError: naming an utterance that ends in them and differs.
        """
        rows, at = self._content.rows, 0
        labels_T = self._content.read_labels(slice(start, start + len(features_TF)), "all")
        while at < len(features_TF):
            length = rows[self._index].num_frames
            stop = min(len(features_TF), at + length - self._done)
            if self._done == 0:
                self._digest = hashlib.sha256(_header(features_TF, length))
                self._labels = bytearray(_header(labels_T, length))
            self._digest.update(little_endian(features_TF[at:stop]))
            self._labels += little_endian(labels_T[at:stop])
            self._done += stop - at
            at = stop
            if self._done == length:
                self._end()

    def _end(self) -> None:
        self._digest.update(self._labels)
        self._content.compare(self._index, self._digest.hexdigest())
        self._index, self._done = self._index + 1, 0


def _header(array: NDArray[Any], length: int) -> bytes:
    """What `array_digest` puts before the bytes of an array of `length` frames."""
    dtype = array.dtype.newbyteorder("<")
    return f"{dtype.str}{(length, *array.shape[1:])}".encode()


def little_endian(array: NDArray[Any]) -> memoryview:
    """The bytes of an array as they are hashed."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data
