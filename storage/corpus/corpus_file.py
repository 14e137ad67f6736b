"""CorpusFile: the features, hard labels and transcripts of one split, in one HDF5 file.

    /features     float32 or float16 (frames, dims)  chunked along time, Fletcher-32 checked
    /labels       int32 (frames,)                    class of every frame, NO_LABEL where unknown
    /utterances   id, speaker, transcript, digest: UTF-8 of all, one after the other (uint8), and
                  ..._offsets (int64, one more than utterances); first_frame, num_frames (int64);
                  audio_...: where the recordings are (audio_columns.py), if an utterance has one
    /tokens       token sequences in place of labels, if the file has such (token_columns.py)
    attributes    format, about (JSON of CorpusAbout), fingerprint (of all content), labels (SHA-256
                  of all hard labels; not in files of earlier versions), audio (SHA-256 of all that
                  audio_... have, if they are there): fixed length

Utterances lie one after the other. CorpusWriter writes it (corpus_writer.py). The file does not
depend on models or soft labels. The first time that an open file reads an utterance, it compares
features and hard labels with the utterance's digest (content_check.py).

Shapes: T frames, F feature dims, U utterances.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from storage.corpus.audio_columns import spans_digest
from storage.corpus.content_check import ContentCheck
from storage.corpus.hdf5_layout import (
    has_audio,
    open_hdf5,
    refuse_foreign_layout,
    text_attribute,
)
from storage.corpus.token_columns import TokenColumns
from storage.corpus.utterance import content_of, read_table
from storage.errors import CorpusFileError
from storage.files.fingerprint import canonical_json

FORMAT = "essence corpus 1"
NO_LABEL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusAbout:
    """Attributes that all utterances of the file share.

    `frame_shift_ms` is the step between rows of the file; `subsampling` the number of feature
    frames that became one row. `has_labels` is false if there is no alignment.
    """

    split: str
    feature_dim: int
    num_classes: int
    class_inventory: str
    frame_shift_ms: float
    subsampling: int
    has_labels: bool
    feature_settings: dict[str, Any]


class CorpusFile:
    """A corpus file, open for reading. Close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open_hdf5(path, format=FORMAT)
        try:
            refuse_foreign_layout(self._file, path)
            self.about = CorpusAbout(**json.loads(text_attribute(self._file, "about")))
            self.fingerprint = text_attribute(self._file, "fingerprint")
            self.utterances = read_table(self._file)
            self._tokens = TokenColumns.of(self._file, path, num_classes=self.about.num_classes)
            self._refuse_changed_table()
            has_digest = "labels" in self._file.attrs
            labels_digest = text_attribute(self._file, "labels") if has_digest else None
        except CorpusFileError:
            self._file.close()
            raise
        except (KeyError, TypeError, ValueError, OSError, RuntimeError, AttributeError) as cause:
            self._file.close()
            raise CorpusFileError(
                f"{path}: attributes or utterance table differ from those written ({cause}): "
                "remove the corpus directory and run 'essence corpus' again"
            ) from cause
        self._index_of = {row.id: index for index, row in enumerate(self.utterances)}
        self._features: h5py.Dataset = self._file["features"]
        self._labels: h5py.Dataset = self._file["labels"]
        self._content = ContentCheck(
            path=path,
            rows=self.utterances,
            read_features=partial(self._read, self._features),
            read_labels=self._read_labels,
            labels_digest=labels_digest,
        )

    def _refuse_changed_table(self) -> None:
        """HDF5 has no checksum on its small datasets; the fingerprint covers them."""
        content = hashlib.sha256(canonical_json(asdict(self.about)).encode())
        end = 0
        for row in self.utterances:
            content.update(content_of(row).encode())
            if row.first_frame != end or row.num_frames < 0:
                raise ValueError(f"utterance {row.id!r} does not follow the one before")
            end += row.num_frames
        if self._tokens is not None:
            content.update(self._tokens.digest.encode())
            if len(self._tokens.counts_U) != len(self.utterances):
                raise ValueError("not every utterance has a number of tokens")
        if content.hexdigest() != self.fingerprint:
            raise ValueError("the fingerprint is that of other content")
        if has_audio(self._file):  # paths and times, which the fingerprint leaves out
            spans = (row.audio for row in self.utterances)
            if spans_digest(spans) != text_attribute(self._file, "audio"):
                raise ValueError("the places of the audio have changed")
        lengths = {len(self._file["features"]), len(self._file["labels"])}
        if lengths != {end}:
            raise ValueError(f"{end} frames are listed, features and labels have {lengths}")

    @property
    def num_frames(self) -> int:
        """All frames of the split."""
        return int(self._features.shape[0])

    def index_of(self, id: str) -> int:
        """Index of an utterance in `utterances`.

        Raises:
            CorpusFileError: when the split holds no such utterance.
        """
        if id not in self._index_of:
            raise CorpusFileError(f"{self.path} holds no utterance {id!r}")
        return self._index_of[id]

    def __contains__(self, id: str) -> bool:
        return id in self._index_of

    def features(self, index: int, *, span: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Features (T, F) of the utterance at `index`, or of its frames [start, end), float32.

        Raises:
            CorpusFileError: when the utterance's content is not what was written.
        """
        frames, id = self._frames_of(index, span)
        self._content.utterance(index)
        return np.asarray(self._read(self._features, frames, id), dtype=np.float32)

    def labels(self, index: int, *, span: tuple[int, int] | None = None) -> NDArray[np.int32]:
        """Hard labels (T,) of the same frames; NO_LABEL where unknown. Raises as `features`."""
        frames, id = self._frames_of(index, span)
        self._content.labels_of(index)
        return np.asarray(self._read_labels(frames, id), dtype=np.int32)

    @property
    def has_tokens(self) -> bool:
        """Whether utterances have token sequences, and no class for every frame."""
        return self._tokens is not None

    def tokens(self, index: int) -> NDArray[np.int32] | None:
        """Token ids (L,) of the utterance at `index`; None if it is untranscribed.

        Raises:
            CorpusFileError: when the tokens are not those that were written.
        """
        return None if self._tokens is None else self._tokens.sequence(index)

    def is_transcribed(self) -> NDArray[np.bool_]:
        """Whether each utterance has a hard label or a token, (utterances,)."""
        return self.labelled_frames() > 0 if self._tokens is None else self._tokens.counts_U > 0

    def _frames_of(self, index: int, span: tuple[int, int] | None) -> tuple[slice, str]:
        row = self.utterances[index]
        start, end = span or (0, row.num_frames)
        assert 0 <= start <= end <= row.num_frames
        return slice(row.first_frame + start, row.first_frame + end), row.id

    def feature_blocks(self, frames: int = 1 << 14) -> Iterator[NDArray[np.float32]]:
        """All features, in order, in blocks (<= frames, F): for statistics.

        Raises:
            CorpusFileError: at the latest after the last block, when one differs from its digest.
        """
        check = self._content.in_order()
        for start in range(0, self.num_frames, frames):
            block = self._read(self._features, slice(start, start + frames), "all")
            check.add(block, start=start)
            yield np.asarray(block, dtype=np.float32)

    def label_counts(self) -> NDArray[np.int64]:
        """How many frames carry each class, (num_classes,). Unlabelled frames do not count."""
        self._content.labels()
        labels_T = self._read_labels(slice(None), "all")
        known_T = labels_T[labels_T != NO_LABEL]
        return np.bincount(known_T, minlength=self.about.num_classes).astype(np.int64)

    def labelled_frames(self, frames: int = 1 << 20) -> NDArray[np.int64]:
        """How many frames of each utterance carry a hard label, (utterances,)."""
        self._content.labels()
        # A frame belongs to the first utterance that ends after it, never to an empty one.
        ends_U = np.array([row.first_frame + row.num_frames for row in self.utterances], np.int64)
        counts_U = np.zeros(len(ends_U), np.int64)
        for start in range(0, self.num_frames, frames):
            labels_T = self._read_labels(slice(start, start + frames), "all")
            known = start + np.flatnonzero(labels_T != NO_LABEL)
            counts_U += np.bincount(
                np.searchsorted(ends_U, known, side="right"), minlength=len(ends_U)
            )
        return counts_U

    def check_content(self, advance: Callable[[int], None] = lambda _: None) -> None:
        """Compare all utterances with their digests. `advance` gets numbers of frames.

        Raises:
            CorpusFileError: naming the first utterance that differs.
        """
        self._content.everything(advance)
        self._content.labels()
        if self._tokens is not None:
            self._tokens.check()

    def _read(self, data: h5py.Dataset, frames: slice, id: str) -> NDArray[Any]:
        try:
            return np.asarray(data[frames])
        except OSError as cause:
            raise CorpusFileError(
                f"{self.path}, utterance {id!r}: cannot be read ({cause}): "
                "remove the corpus directory and run 'essence corpus' again"
            ) from cause

    def _read_labels(self, frames: slice, id: str) -> NDArray[Any]:
        labels_T = self._read(self._labels, frames, id)
        out_T = (labels_T < NO_LABEL) | (labels_T >= self.about.num_classes)
        if out_T.any():
            frame = (frames.start or 0) + int(np.argmax(out_T))
            raise CorpusFileError(
                f"{self.path}, utterance {id!r}, frame {frame} of the file: hard label "
                f"{labels_T[out_T][0]}, wanted {NO_LABEL} to {self.about.num_classes - 1}: "
                "remove the corpus directory and run 'essence corpus' again"
            )
        return labels_T

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_identity(path: Path) -> tuple[str, str]:
    """Split and fingerprint of a corpus file, as it states them: the content is not read.

    Raises:
        CorpusFileError: when it is no corpus file.
    """
    with open_hdf5(path, format=FORMAT) as file:
        try:
            about = json.loads(text_attribute(file, "about"))
            return str(about["split"]), text_attribute(file, "fingerprint")
        except (KeyError, OSError, RuntimeError, TypeError, ValueError) as cause:
            raise CorpusFileError(f"{path}: its attributes cannot be read ({cause})") from cause
