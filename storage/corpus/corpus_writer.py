"""CorpusWriter: writes a corpus file (see corpus_file.py) under another name, then renames it.

Invalid values (a label out of range, a feature that is not finite) are refused, by utterance and
frame, before anything of that utterance is written.

Shapes: T frames, F feature dims.
"""

import hashlib
import os
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from storage.corpus.audio_columns import numbers_of, spans_digest, texts_of, why_invalid
from storage.corpus.audio_span import AudioSpan
from storage.corpus.corpus_file import FORMAT, NO_LABEL, CorpusAbout
from storage.corpus.hdf5_layout import TEXT_COLUMNS, TOKENS, TOKENS_OF
from storage.corpus.token_columns import tokens_hash
from storage.corpus.token_columns import why_invalid as why_invalid_tokens
from storage.corpus.utterance import Utterance, content_of
from storage.errors import CorpusFileError
from storage.files.calm_file import CalmFile
from storage.files.fingerprint import array_digest, canonical_json
from storage.files.leftovers import unfinished
from storage.files.publish import sync_directory

CHUNK_BYTES = 1 << 18
LABEL_CHUNK_FRAMES = 1 << 16


class CorpusWriter:
    """Writes a corpus file under another name, and renames it if there was no error.

    With `has_tokens` its utterances have token sequences, and no class for every frame.
    """

    def __init__(
        self,
        path: Path,
        about: CorpusAbout,
        *,
        dtype: str = "float32",
        has_tokens: bool = False,
    ) -> None:
        self._path = path
        self._tokens: list[NDArray[np.int32]] | None = [] if has_tokens else None
        self._partial = unfinished(path)
        self._about = about
        self._rows: list[Utterance] = []
        self._ids: set[str] = set()
        self._content = hashlib.sha256(canonical_json(asdict(about)).encode())
        self._all_labels = hashlib.sha256()
        self._num_frames = 0
        self._disk = CalmFile(self._partial)
        self._file = h5py.File(self._disk, "w", libver="v110")
        rows = max(1, CHUNK_BYTES // (about.feature_dim * np.dtype(dtype).itemsize))
        self._features = self._file.create_dataset(
            "features",
            shape=(0, about.feature_dim),
            maxshape=(None, about.feature_dim),
            chunks=(rows, about.feature_dim),
            dtype=dtype,
            fletcher32=True,
        )
        self._labels = self._file.create_dataset(
            "labels",
            shape=(0,),
            maxshape=(None,),
            chunks=(LABEL_CHUNK_FRAMES,),
            dtype="int32",
            fletcher32=True,
        )

    def add(
        self,
        id: str,
        *,
        speaker: str,
        transcript: str,
        features_TF: NDArray[np.floating[Any]],
        labels_T: NDArray[np.integer[Any]] | None,
        tokens_L: NDArray[np.integer[Any]] | None = None,
        audio: AudioSpan | None = None,
    ) -> None:
        """Append one utterance. `labels_T` is None where no alignment is known.

        `tokens_L` is the token sequence of its transcript, in a file that has such.

        Raises:
            CorpusFileError: naming utterance and frame, when an id comes twice, a value is not
                finite, a label or token is out of range, features and labels differ in length, or
                the audio is no part of a file.
            StorageError: when the disk is full.
        """
        num_frames = len(features_TF)
        labels = np.full(num_frames, NO_LABEL) if labels_T is None else labels_T
        self._refuse_bad(id, features_TF, labels, texts=(id, speaker, transcript))
        if audio is not None and (why := why_invalid(audio)):
            raise CorpusFileError(f"utterance {id!r}: its audio has {why}")
        self._add_tokens(id, tokens_L)
        stored_TF = np.asarray(features_TF, dtype=self._features.dtype)
        stored_T = np.asarray(labels, dtype="<i4")
        digest = array_digest(stored_TF, stored_T)
        end = self._num_frames + num_frames
        self._features.resize(end, axis=0)
        self._labels.resize(end, axis=0)
        self._features[self._num_frames : end] = stored_TF
        self._labels[self._num_frames : end] = stored_T
        row = Utterance(
            id=id,
            speaker=speaker,
            transcript=transcript,
            digest=digest,
            first_frame=self._num_frames,
            num_frames=num_frames,
            audio=audio,
        )
        self._content.update(content_of(row).encode())
        self._all_labels.update(stored_T.tobytes())
        self._ids.add(id)
        self._rows.append(row)
        self._num_frames = end
        self._disk.refuse_failed()

    def _add_tokens(self, id: str, tokens_L: NDArray[np.integer[Any]] | None) -> None:
        if self._tokens is None:
            assert tokens_L is None, "has_tokens is false"
            return
        if tokens_L is None:
            self._tokens.append(np.empty(0, np.int32))
            return
        if why := why_invalid_tokens(tokens_L, num_classes=self._about.num_classes):
            raise CorpusFileError(f"utterance {id!r}: {why}")
        self._tokens.append(tokens_L.astype(np.int32))

    def _refuse_bad(
        self,
        id: str,
        features_TF: NDArray[np.floating[Any]],
        labels_T: NDArray[np.integer[Any]],
        *,
        texts: tuple[str, ...],
    ) -> None:
        if id in self._ids:
            raise CorpusFileError(f"utterance {id!r} comes twice in {self._about.split}")
        if any("\0" in text for text in texts):
            raise CorpusFileError(f"utterance {id!r}: a NUL character in id, speaker or transcript")
        if features_TF.ndim != 2 or features_TF.shape[1] != self._about.feature_dim:
            raise CorpusFileError(
                f"utterance {id!r}: features of shape {features_TF.shape}, "
                f"wanted (frames, {self._about.feature_dim})"
            )
        if labels_T.shape != (len(features_TF),):
            raise CorpusFileError(
                f"utterance {id!r}: {len(labels_T)} labels for {len(features_TF)} frames"
            )
        finite_T = np.isfinite(features_TF).all(axis=1)
        if not finite_T.all():
            frame = int(np.argmin(finite_T))
            raise CorpusFileError(f"utterance {id!r}, frame {frame}: a feature is not finite")
        wrong_T = (labels_T < NO_LABEL) | (labels_T >= self._about.num_classes)
        if wrong_T.any():
            frame = int(np.argmax(wrong_T))
            raise CorpusFileError(
                f"utterance {id!r}, frame {frame}: label {int(labels_T[frame])} is outside "
                f"0..{self._about.num_classes - 1}: do the alignment and the class count agree?"
            )

    def _finish(self) -> None:
        table = self._file.create_group("utterances")
        for name in TEXT_COLUMNS:
            _add_texts(table, name, [getattr(row, name).encode() for row in self._rows])
        for name in ("first_frame", "num_frames"):
            column = np.array([getattr(row, name) for row in self._rows], dtype=np.int64)
            _add_column(table, name, column)
        self._add_audio(table)
        self._finish_tokens()
        self._file.attrs["format"] = np.bytes_(FORMAT)
        self._file.attrs["about"] = np.bytes_(canonical_json(asdict(self._about)))
        self._file.attrs["fingerprint"] = np.bytes_(self._content.hexdigest())
        self._file.attrs["labels"] = np.bytes_(self._all_labels.hexdigest())

    def _finish_tokens(self) -> None:
        """Token sequences, which the fingerprint covers; nothing in files of frame labels."""
        if self._tokens is None:
            return
        counts_U = np.array([len(tokens_L) for tokens_L in self._tokens], np.int64)
        everything = np.concatenate(self._tokens) if self._tokens else np.empty(0, np.int32)
        digest = tokens_hash(counts_U)
        digest.update(everything.astype("<i4").tobytes())
        _add_column(self._file, TOKENS, everything)
        _add_column(self._file, TOKENS_OF, counts_U)
        self._file.attrs[TOKENS] = np.bytes_(digest.hexdigest())
        self._content.update(digest.hexdigest().encode())

    def _add_audio(self, table: h5py.Group) -> None:
        """Where the recordings are; nothing if the source has none, as in files before."""
        spans = [row.audio for row in self._rows]
        if any(span is not None for span in spans):
            for name, texts in texts_of(spans).items():
                _add_texts(table, name, texts)
            for name, column in numbers_of(spans).items():
                _add_column(table, name, column)
            self._file.attrs["audio"] = np.bytes_(spans_digest(spans))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                if not self._rows:
                    raise CorpusFileError(f"the {self._about.split} split holds no utterance")
                self._finish()
            self._file.close()
            if kind is None:
                self._disk.sync()
                os.replace(self._partial, self._path)
                sync_directory(self._path.parent)
        finally:
            self._file.close()
            self._disk.close()
            self._partial.unlink(missing_ok=True)


def _add_texts(table: h5py.Group, name: str, texts: list[bytes]) -> None:
    ends = np.cumsum([0, *map(len, texts)])
    _add_column(table, name, np.frombuffer(b"".join(texts), dtype=np.uint8))
    _add_column(table, f"{name}_offsets", ends.astype(np.int64))


def _add_column(table: h5py.Group, name: str, column: NDArray[Any]) -> None:
    chunk = min(max(len(column), 1), CHUNK_BYTES // column.itemsize)
    table.create_dataset(name, data=column, chunks=(chunk,), maxshape=(None,), fletcher32=True)
