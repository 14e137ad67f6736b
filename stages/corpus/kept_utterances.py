"""KeptUtterances: utterances on disk for later passes, where reading is faster than making them.

An utterance takes 4 bytes for each feature and label: 60 MB per hour with 40 features.

Shapes: T frames, F feature dims.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stages.contract.errors import BadInput
from stages.corpus.raw import RawUtterance
from storage.files.fingerprint import file_digest, fingerprint
from storage.files.full_disk import naming


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """An utterance without its arrays, the shape of its features, and where its arrays are."""

    raw: RawUtterance
    num_frames: int
    feature_dim: int
    has_labels: bool
    offset: int


class KeptUtterances:
    """A file of utterances. Where one has labels, all its frames have. Only arrays are in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[_Row] = []

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def speakers(self) -> set[str]:
        """Speakers of the utterances."""
        return {row.raw.speaker for row in self._rows}

    @property
    def num_frames(self) -> list[int]:
        """Frames of each utterance, in order."""
        return [row.num_frames for row in self._rows]

    @property
    def rows(self) -> list[RawUtterance]:
        """The utterances without features and labels, in order."""
        return [row.raw for row in self._rows]

    def digest(self) -> str:
        """SHA-256 of the utterances: ids, transcripts, features and labels."""
        rows = [(r.raw.id, r.raw.transcript, r.num_frames, r.has_labels) for r in self._rows]
        return fingerprint([rows, file_digest(self._path)])

    def keep(self, raws: Iterable[RawUtterance]) -> Iterator[RawUtterance]:
        """The same utterances; each is written before it is yielded.

        Raises:
            BadInput: if an utterance has labels for a part of its frames.
        """
        rows = []
        with naming(self._path), self._path.open("wb") as file:
            for raw in raws:
                if raw.labels_T is not None and len(raw.labels_T) != len(raw.features_TF):
                    raise BadInput(f"utterance {raw.id!r}: a frame has no label")
                rows.append(_without_arrays(raw, offset=file.tell()))
                file.write(np.ascontiguousarray(raw.features_TF, dtype="<f4").tobytes())
                if raw.labels_T is not None:
                    file.write(np.ascontiguousarray(raw.labels_T, dtype="<i4").tobytes())
                yield raw
        self._rows = rows

    def __iter__(self) -> Iterator[RawUtterance]:
        return self.read(range(len(self._rows)))

    def read(self, numbers: Iterable[int]) -> Iterator[RawUtterance]:
        """The utterances with these numbers, counted from 0, in the given order."""
        with self._path.open("rb") as file:
            for number in numbers:
                yield _read(file, self._rows[number])


def _read(file: BinaryIO, row: _Row) -> RawUtterance:
    file.seek(row.offset)
    shape = (row.num_frames, row.feature_dim)
    features = np.frombuffer(file.read(4 * shape[0] * shape[1]), dtype="<f4")
    labels_T = np.frombuffer(file.read(4 * shape[0]), dtype="<i4") if row.has_labels else None
    return replace(row.raw, features_TF=features.reshape(shape), labels_T=labels_T)


def _without_arrays(raw: RawUtterance, *, offset: int) -> _Row:
    num_frames, feature_dim = raw.features_TF.shape
    empty_TF = np.empty((0, feature_dim), np.float32)  # a slice would hold the whole matrix
    return _Row(
        raw=replace(raw, features_TF=empty_TF, labels_T=None),
        num_frames=num_frames,
        feature_dim=feature_dim,
        has_labels=raw.labels_T is not None,
        offset=offset,
    )
