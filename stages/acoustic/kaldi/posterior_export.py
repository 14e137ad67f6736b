"""export_store: a store -> a Kaldi archive, sparse or dense, and its scp.

    sparse   Posterior: the k ranks of each frame with the store's probabilities; no tail
    dense    FloatMatrix of log-posteriors: the tail spread evenly over the classes outside the k
             ranks, each frame scaled to sum to one

The archive is written in FILE.partial/. A killed export goes on from there: what lies there is
compared with the store, byte by byte, and cut where it ends or differs. The finished archive is
read again with this program's reader and compared, then renamed; the scp follows.

Shapes: T frames, C classes, K ranks.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.posterior import (
    binary_matrix,
    binary_posterior,
    text_matrix,
    text_posterior,
)
from stages.acoustic.kaldi.posterior_source import ArchiveSource
from stages.acoustic.kaldi.specifier import ToRead, ToWrite
from stages.contract.errors import BadInput, StageError
from storage.exchange.frames import DenseFrames, Frames
from storage.files.full_disk import naming
from storage.files.lock import locked
from storage.files.publish import make_directories, publish_pieces, sync_directory
from storage.format.layout import StoreUtterance
from storage.read.reader import SoftLabelStore
from storage.read.soft_labels import SoftLabels

Advance = Callable[[float], None]
ARCHIVE = "archive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What is written: k ranks, as pairs or as matrices over all classes."""

    target: ToWrite
    k: int
    is_dense: bool

    def encoded(self, labels: SoftLabels, num_classes: int) -> bytes:
        """An utterance as an object of the archive."""
        if self.is_dense:
            values_TC = dense_log_posteriors(labels, num_classes=num_classes)
            return (text_matrix if self.target.is_text else binary_matrix)(values_TC)
        write = text_posterior if self.target.is_text else binary_posterior
        return write(labels.ids_TK, np.exp(labels.logp_TK), labels.count_T)

    def is_same(self, frames: Frames, labels: SoftLabels, num_classes: int) -> bool:
        """Does what was read have the values that were written?"""
        if isinstance(frames, DenseFrames):
            wanted_TC = dense_log_posteriors(labels, num_classes=num_classes)
            return frames.logp_TC.size == wanted_TC.size and np.array_equal(
                frames.logp_TC.reshape(wanted_TC.shape), wanted_TC
            )
        is_here_TK = ~labels.is_absent_TK
        return (
            np.array_equal(frames.count_T, is_here_TK.sum(axis=1))
            and np.array_equal(frames.ids_P, labels.ids_TK[is_here_TK])
            and np.array_equal(frames.prob_P, np.exp(labels.logp_TK)[is_here_TK])
        )


def dense_log_posteriors(labels: SoftLabels, *, num_classes: int) -> NDArray[np.float32]:
    """ln p of all classes (T, C): the tail is spread evenly, each frame sums to one."""
    prob_TK, tail_T = labels.distribution(num_classes=num_classes)
    num_outside_T = np.maximum(1, labels.num_outside_T(num_classes=num_classes))
    with np.errstate(divide="ignore"):  # no class is outside: nothing of the fill remains
        fill_T1 = np.log(tail_T / num_outside_T)[:, np.newaxis]
        logp_TK = np.where(labels.is_absent_TK, fill_T1, np.log(prob_TK))
    logp_TC = np.repeat(fill_T1, num_classes, axis=1).astype(np.float32)
    np.put_along_axis(logp_TC, labels.ids_TK.astype(np.intp), logp_TK, axis=1)
    return logp_TC


def export_store(
    store: SoftLabelStore, export: Export, *, advance: Advance = lambda _: None
) -> int:
    """Write, compare and publish the archive; returns its number of bytes.

    `advance` gets the frames that are written, then again when they are compared.
    An archive that is there already, and is this export, stays as it is.

    Raises:
        BadInput: when something else is there, or an id cannot be one of Kaldi's.
        StageError: when what is read is not what was written.
    """
    path = export.target.path
    _refuse_foreign_ids(store)
    make_directories(path.absolute().parent)
    folder = path.with_name(f"{path.name}.partial")
    if path.exists():
        offsets, size = _finished(store, export, advance)
        with suppress(OSError):  # it was killed after the rename: the folder is empty
            folder.rmdir()
    else:
        folder.mkdir(exist_ok=True)
        with locked(folder, busy=StageError(f"{folder}: another process is writing it")):
            offsets, size = _write(store, export, folder / ARCHIVE, advance)
            _compare(store, export, folder / ARCHIVE, advance)
            os.replace(folder / ARCHIVE, path)
            if not path.is_file():
                raise StageError(f"{path}: a rename reported success and did nothing: run it again")
        folder.rmdir()
        sync_directory(path.absolute().parent)
    if export.target.scp is not None:
        publish_pieces(export.target.scp, _scp_lines(store, offsets, path))
    return size


def _entry(store: SoftLabelStore, export: Export, row: StoreUtterance) -> tuple[bytes, bytes]:
    """The id and the object of an utterance."""
    labels = store.read([row.id], k=export.k)
    return f"{row.id} ".encode(), export.encoded(labels, store.about.num_classes)


def _finished(store: SoftLabelStore, export: Export, advance: Advance) -> tuple[list[int], int]:
    path, offsets = export.target.path, list[int]()
    with path.open("rb") as file:
        for row in store.utterances:
            id, object = _entry(store, export, row)
            offsets.append(file.tell() + len(id))
            if file.read(len(id) + len(object)) != id + object:
                raise BadInput(_other(path))
            advance(row.num_frames)
        if file.read(1):
            raise BadInput(_other(path))
        return offsets, file.tell()


def _other(path: Path) -> str:
    return f"{path} is there, and is not this export: remove it, or name another file"


def _write(
    store: SoftLabelStore, export: Export, path: Path, advance: Advance
) -> tuple[list[int], int]:
    """Continue the archive at `path`. Returns the offset of each object, and the size."""
    offsets, is_new = [], False
    with naming(path), path.open("r+b" if path.exists() else "w+b") as file:
        for row in store.utterances:
            id, object = _entry(store, export, row)
            start = file.tell()
            offsets.append(start + len(id))
            if not is_new and file.read(len(id) + len(object)) != id + object:
                is_new = True
                file.seek(start)
                file.truncate()
            if is_new:
                file.write(id + object)
            advance(row.num_frames)
        file.truncate()
        _flush(file, path)
        return offsets, file.tell()


def _flush(file: BinaryIO, path: Path) -> None:
    """Wait until all bytes are on the disk.

    After a failed flush the system may have dropped pages, and would report success for a second
    flush of the same file: the next run writes another one.
    """
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _compare(store: SoftLabelStore, export: Export, path: Path, advance: Advance) -> None:
    """Read the archive as Kaldi's users do, and compare it with the store."""
    source = ArchiveSource([ToRead(path, is_scp=False)], is_dense=export.is_dense)
    found = source.utterances(lambda _: None)
    for row in store.utterances:
        utterance = next(found, None)
        labels = store.read([row.id], k=export.k)
        num_classes = store.about.num_classes
        if (
            utterance is None
            or utterance.id != row.id
            or not export.is_same(utterance.frames, labels, num_classes)
        ):
            raise StageError(
                f"{path}, utterance {row.id!r}: what is read is not what was written: remove it, "
                "and export to another disk"
            )
        advance(row.num_frames)


def _scp_lines(store: SoftLabelStore, offsets: list[int], path: Path) -> Iterator[bytes]:
    for row, offset in zip(store.utterances, offsets, strict=True):
        yield f"{row.id} {path}:{offset}\n".encode()


def _refuse_foreign_ids(store: SoftLabelStore) -> None:
    for row in store.utterances:
        if not row.id or any(letter.isspace() for letter in row.id):
            raise BadInput(
                f"{store.place}: utterance {row.id!r} cannot be an id of Kaldi's archives, which "
                "has no spaces: leave it out with 'essence cache split'"
            )
