"""ArraySource: numpy arrays -> dense frames: a folder of ID.npy, or one .npz whose names are ids.

An array is (frames, classes), of floats. Its declared size is compared with that of its file
before memory is taken; pickles are refused.
"""

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.exchange.frames import Advance, DenseFrames, SourceUtterance

SUFFIX = ".npy"
# Exceptions of numpy and zipfile for damaged bytes; numpy parses a header as Python's literals.
DAMAGE = (
    ValueError,
    TypeError,
    EOFError,
    OSError,
    SyntaxError,
    RecursionError,
    NotImplementedError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class ArraySource:
    """The arrays of a folder or of an .npz, in the order of their names."""

    def __init__(self, path: Path, *, are_logarithms: bool = True) -> None:
        self._path = path
        self._are_logarithms = are_logarithms
        self.name = str(path)

    @property
    def num_bytes(self) -> int:
        """Bytes of all arrays, decompressed."""
        return sum(size for _, _, size in self._entries())

    def utterances(self, advance: Advance) -> Iterator[SourceUtterance]:
        """All arrays as utterances.

        Raises:
            StoreError: when one is damaged, or no matrix of floats.
        """
        for id, where, size in self._entries():
            try:
                with self._open(where) as file:
                    values_TC = _read_matrix(file, size)
            except DAMAGE as cause:
                raise StoreError(f"{where}: no readable array of numpy ({cause})") from cause
            frames = DenseFrames(as_logarithms(values_TC, are_logarithms=self._are_logarithms))
            yield SourceUtterance(id=id, where=where, frames=frames)
            advance(size)

    def _entries(self) -> list[tuple[str, str, int]]:
        """Id, place and size of each array."""
        if self._path.is_dir():
            files = sorted(self._path.glob(f"*{SUFFIX}"))
            entries = [(file.stem, str(file), file.stat().st_size) for file in files]
        else:
            try:
                with zipfile.ZipFile(self._path) as archive:
                    infos = sorted(archive.infolist(), key=lambda info: info.filename)
            except DAMAGE as cause:
                raise StoreError(f"{self._path}: no readable .npz ({cause})") from cause
            entries = [
                (i.filename.removesuffix(SUFFIX), f"{self._path}, {i.filename}", i.file_size)
                for i in infos
            ]
        if not entries:
            raise StoreError(f"{self._path} holds no array: wanted an {SUFFIX} for each utterance")
        return entries

    @contextmanager
    def _open(self, where: str) -> Iterator[IO[bytes]]:
        if self._path.is_dir():
            with Path(where).open("rb") as file:
                yield file
        else:
            name = where.removeprefix(f"{self._path}, ")
            with zipfile.ZipFile(self._path) as archive, archive.open(name) as entry:
                yield entry


def as_logarithms(values_TC: NDArray[np.float32], *, are_logarithms: bool) -> NDArray[np.float32]:
    """Natural logarithms; of a value below 0 it is NaN, which the check names."""
    if are_logarithms:
        return values_TC
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(values_TC)


def _read_matrix(file: IO[bytes], size: int) -> NDArray[np.float32]:
    version = np.lib.format.read_magic(file)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, is_fortran, dtype = readers[version](file)
    if dtype.kind != "f" or len(shape) != 2:
        raise ValueError(f"found {dtype} of shape {shape}, wanted floats (frames, classes)")
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > size:
        raise ValueError(f"truncated: shape {shape} needs {wanted:,} bytes, the file has {size:,}")
    content = file.read(wanted)
    if len(content) < wanted:
        raise ValueError(f"truncated: {wanted:,} bytes wanted, {len(content):,} found")
    values = np.frombuffer(content, dtype).reshape(shape[::-1] if is_fortran else shape)
    return np.ascontiguousarray(values.T if is_fortran else values, dtype=np.float32)
