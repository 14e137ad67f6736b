"""KeptRecordings: the recordings of one split on disk, to be read in any order.

Copies are made after the whole split was recorded, since babble is mixed from all of it. An hour
takes 130 MB: 2 bytes for every sample, 4 for every label.

Shapes: T samples or frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from stages.contract.errors import BadInput
from stages.corpus.copies.original import Original
from stages.corpus.sound.recording import Recording
from stages.corpus.sound.wave import Wave
from storage.files.full_disk import naming

EMPTY = np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A recording without its arrays, and where they lie in the file."""

    recording: Recording
    offset: int
    num_samples: int
    num_labels: int | None


class KeptRecordings:
    """A file of recordings. Memory holds everything but the arrays."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[_Row] = []

    def keep(self, recordings: Iterable[Recording]) -> Iterator[Recording]:
        """The same recordings, each written before it is given."""
        with naming(self._path), self._path.open("wb") as file:
            for recording in recordings:
                labels_T = recording.labels_T
                offset = file.tell()
                file.write(recording.samples_T.astype("<i2").tobytes())
                if labels_T is not None:
                    file.write(labels_T.astype("<i4").tobytes())
                row = _Row(
                    recording=replace(recording, samples_T=EMPTY, labels_T=None),
                    offset=offset,
                    num_samples=len(recording.samples_T),
                    num_labels=None if labels_T is None else len(labels_T),
                )
                self._rows.append(row)
                yield recording

    def __len__(self) -> int:
        return len(self._rows)

    def originals(self) -> Iterator[Original]:
        """Every recording, in the order in which they were kept, with the speech of the others."""
        # By id, so that what is drawn does not depend on the order of the split.
        by_id = sorted(self._rows, key=lambda row: row.recording.id)
        for row in self._rows:
            others = _Others(self, by_id, speaker=row.recording.speaker)
            yield Original(recording=self._read(row), others=others)

    def read_samples(self, row: _Row) -> Wave:
        """The samples of one recording."""
        samples = np.fromfile(self._path, dtype="<i2", count=row.num_samples, offset=row.offset)
        return samples.astype(np.float32)

    def _read(self, row: _Row) -> Recording:
        labels_T = None
        if row.num_labels is not None:
            offset = row.offset + 2 * row.num_samples
            labels_T = np.fromfile(self._path, dtype="<i4", count=row.num_labels, offset=offset)
        return replace(row.recording, samples_T=self.read_samples(row), labels_T=labels_T)


@dataclass(frozen=True, slots=True)
class _Others:
    """The recordings of all speakers but one; `rows` are those of all."""

    kept: KeptRecordings
    rows: list[_Row]
    speaker: str

    def draw(self, num_voices: int, *, rng: np.random.Generator) -> list[Wave]:
        """Sentences by `rng`; one comes twice only where there are too few."""
        shuffled = (self.rows[index] for index in rng.permutation(len(self.rows)))
        others = (row for row in shuffled if row.recording.speaker != self.speaker)
        chosen = list(islice(others, num_voices))
        if not chosen:
            raise BadInput(
                f"all utterances of the split are by {self.speaker}, wanted other speakers to mix "
                "babble from: set babble_share to 0"
            )
        return [self.kept.read_samples(row) for row in islice(cycle(chosen), num_voices)]
