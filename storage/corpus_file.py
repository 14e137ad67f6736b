"""CorpusFile: the features, hard labels and transcripts of one split, in one HDF5 file.

    /features     float32 or float16 (frames, dims)  chunked along time, Fletcher-32 checked
    /labels       int32 (frames,)                    class of every frame, NO_LABEL where unknown
    /utterances   id, speaker, transcript, digest (UTF-8), first_frame, num_frames (int64)
    attributes    format, about (JSON of CorpusAbout), fingerprint (of all content)

Utterances lie one after the other. The file knows nothing of models or soft labels.

Shapes: T frames, F feature dims.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from storage.errors import CorpusFileError
from storage.fingerprint import array_digest, canonical_json
from storage.publish import sync_directory

FORMAT = "essence corpus 1"
NO_LABEL = -1
CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A row of the utterance table: frames [first_frame, first_frame + num_frames)."""

    id: str
    speaker: str
    transcript: str
    digest: str
    first_frame: int
    num_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusAbout:
    """What holds for every utterance of the file.

    `frame_shift_ms` is the step between rows of the file; `subsampling` the number of
    feature frames that one row stands for. `has_labels` is false where no alignment exists.
    """

    split: str
    feature_dim: int
    num_classes: int
    class_inventory: str
    frame_shift_ms: float
    subsampling: int
    has_labels: bool
    feature_settings: dict[str, Any]


class CorpusWriter:
    """Writes a corpus file beside its place and renames it there when all went well."""

    def __init__(self, path: Path, about: CorpusAbout, *, dtype: str = "float32") -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        self._about = about
        self._rows: list[Utterance] = []
        self._ids: set[str] = set()
        self._content = hashlib.sha256(canonical_json(asdict(about)).encode())
        self._num_frames = 0
        self._file = h5py.File(self._partial, "w", libver="v110")
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
            chunks=(1 << 16,),
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
    ) -> None:
        """Append one utterance. `labels_T` is None where no alignment is known.

        Raises:
            CorpusFileError: naming utterance and frame, when an id comes twice, a value is not
                finite, a label is out of range, or features and labels differ in length.
        """
        num_frames = len(features_TF)
        labels = np.full(num_frames, NO_LABEL) if labels_T is None else labels_T
        self._refuse_bad(id, features_TF, labels, texts=(id, speaker, transcript))
        stored_TF = np.asarray(features_TF, dtype=self._features.dtype)
        stored_T = np.asarray(labels, dtype="<i4")
        digest = array_digest(stored_TF, stored_T)
        end = self._num_frames + num_frames
        self._features.resize(end, axis=0)
        self._labels.resize(end, axis=0)
        self._features[self._num_frames : end] = stored_TF
        self._labels[self._num_frames : end] = stored_T
        self._content.update(canonical_json([id, speaker, transcript, digest]).encode())
        self._ids.add(id)
        self._rows.append(
            Utterance(
                id=id,
                speaker=speaker,
                transcript=transcript,
                digest=digest,
                first_frame=self._num_frames,
                num_frames=num_frames,
            )
        )
        self._num_frames = end

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
        text = h5py.string_dtype("utf-8")
        for name in ("id", "speaker", "transcript", "digest"):
            table.create_dataset(name, data=[getattr(row, name) for row in self._rows], dtype=text)
        for name in ("first_frame", "num_frames"):
            column = np.array([getattr(row, name) for row in self._rows], dtype="int64")
            table.create_dataset(name, data=column)
        self._file.attrs["format"] = FORMAT
        self._file.attrs["about"] = canonical_json(asdict(self._about))
        self._file.attrs["fingerprint"] = self._content.hexdigest()

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
                handle = os.open(self._partial, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)
                os.replace(self._partial, self._path)
                sync_directory(self._path.parent)
        finally:
            self._file.close()
            self._partial.unlink(missing_ok=True)


class CorpusFile:
    """A corpus file, open for reading. Close it, or use it in a `with`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = _open_defensively(path)
        try:
            _refuse_foreign_data(self._file, path)
            self.about = CorpusAbout(**json.loads(self._file.attrs["about"]))
            self.fingerprint = str(self._file.attrs["fingerprint"])
            self.utterances = _read_table(self._file)
            self._refuse_changed_table()
        except (KeyError, TypeError, ValueError, OSError, RuntimeError, AttributeError) as cause:
            self._file.close()
            raise CorpusFileError(
                f"{path}: attributes or utterance table are not what was written ({cause}): "
                "remove the corpus directory and run 'essence corpus' again"
            ) from cause
        self._index_of = {row.id: index for index, row in enumerate(self.utterances)}
        self._features: h5py.Dataset = self._file["features"]
        self._labels: h5py.Dataset = self._file["labels"]

    def _refuse_changed_table(self) -> None:
        """HDF5 has no checksum on its small datasets; our fingerprint is one."""
        content = hashlib.sha256(canonical_json(asdict(self.about)).encode())
        end = 0
        for row in self.utterances:
            text = canonical_json([row.id, row.speaker, row.transcript, row.digest])
            content.update(text.encode())
            if row.first_frame != end or row.num_frames < 0:
                raise ValueError(f"utterance {row.id!r} does not follow the one before")
            end += row.num_frames
        if content.hexdigest() != self.fingerprint:
            raise ValueError("the fingerprint is that of other content")
        lengths = {len(self._file["features"]), len(self._file["labels"])}
        if lengths != {end}:
            raise ValueError(f"{end} frames are listed, features and labels have {lengths}")

    @property
    def num_frames(self) -> int:
        """All frames of the split."""
        return int(self._features.shape[0])

    def index_of(self, id: str) -> int:
        """Where an utterance stands in `utterances`.

        Raises:
            CorpusFileError: when the split holds no such utterance.
        """
        if id not in self._index_of:
            raise CorpusFileError(f"{self.path} holds no utterance {id!r}")
        return self._index_of[id]

    def __contains__(self, id: str) -> bool:
        return id in self._index_of

    def features(self, index: int, *, span: tuple[int, int] | None = None) -> NDArray[np.float32]:
        """Features (T, F) of the utterance at `index`, or of its frames [start, end), float32."""
        frames, id = self._frames_of(index, span)
        return np.asarray(self._read(self._features, frames, id), dtype=np.float32)

    def labels(self, index: int, *, span: tuple[int, int] | None = None) -> NDArray[np.int32]:
        """Hard labels (T,) of the same frames; NO_LABEL where unknown."""
        frames, id = self._frames_of(index, span)
        return np.asarray(self._read(self._labels, frames, id), dtype=np.int32)

    def _frames_of(self, index: int, span: tuple[int, int] | None) -> tuple[slice, str]:
        row = self.utterances[index]
        start, end = span or (0, row.num_frames)
        assert 0 <= start <= end <= row.num_frames
        return slice(row.first_frame + start, row.first_frame + end), row.id

    def feature_blocks(self, frames: int = 1 << 14) -> Iterator[NDArray[np.float32]]:
        """All features, in order, in blocks (<= frames, F): for statistics."""
        for start in range(0, self.num_frames, frames):
            block = self._read(self._features, slice(start, start + frames), "all")
            yield np.asarray(block, dtype=np.float32)

    def label_counts(self) -> NDArray[np.int64]:
        """How many frames carry each class, (num_classes,). Unlabelled frames do not count."""
        labels_T = self._read(self._labels, slice(None), "all")
        known_T = labels_T[labels_T != NO_LABEL]
        return np.bincount(known_T, minlength=self.about.num_classes).astype(np.int64)

    def _read(self, data: h5py.Dataset, frames: slice, id: str) -> NDArray[Any]:
        try:
            return np.asarray(data[frames])
        except OSError as cause:
            raise CorpusFileError(
                f"{self.path}, utterance {id!r}: cannot be read ({cause}): "
                "remove the corpus directory and run 'essence corpus' again"
            ) from cause

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_defensively(path: Path) -> h5py.File:
    if not path.is_file():
        raise CorpusFileError(f"{path} is not there: run 'essence corpus' first")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as cause:
        raise CorpusFileError(
            f"{path} is not a readable HDF5 file ({cause}): "
            "remove the corpus directory and run 'essence corpus' again"
        ) from cause
    try:
        found = file.attrs.get("format", "no format attribute")
    except (KeyError, OSError, RuntimeError) as cause:
        file.close()
        raise CorpusFileError(f"{path}: its attributes cannot be read ({cause})") from cause
    if found != FORMAT:
        file.close()
        raise CorpusFileError(f"{path}: found {found!r}, wanted {FORMAT!r}")
    return file


def _refuse_foreign_data(file: h5py.File, path: Path) -> None:
    for name in ("features", "labels", "utterances"):
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            file.close()
            raise CorpusFileError(f"{path}: {name!r} is missing or a link; links are refused")
    for name in ("features", "labels"):
        if file[name].external or file[name].is_virtual:
            file.close()
            raise CorpusFileError(f"{path}: {name!r} lies in another file; that is refused")


def _read_table(file: h5py.File) -> list[Utterance]:
    table = file["utterances"]
    texts = [table[name].asstr()[:] for name in ("id", "speaker", "transcript", "digest")]
    firsts, counts = table["first_frame"][:], table["num_frames"][:]
    return [
        Utterance(
            id=id,
            speaker=speaker,
            transcript=transcript,
            digest=digest,
            first_frame=int(first),
            num_frames=int(count),
        )
        for id, speaker, transcript, digest, first, count in zip(
            *texts, firsts, counts, strict=True
        )
    ]
