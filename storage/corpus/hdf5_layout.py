"""HDF5 layout: a corpus file is opened, and its objects checked before one of them is read.

No link is followed, no data lie in another file, and no object declares more bytes than it has on
the disk: HDF5 would allocate them. The writer compresses nothing, so that declared and stored bytes
of a dataset differ by padding and checksums alone.
"""

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from storage.errors import CorpusFileError

# Nothing has a variable length: HDF5 keeps such data in its global heap, and libhdf5 (2.0.0) reads
# endlessly if a size is damaged there.
TEXT_COLUMNS = ("id", "speaker", "transcript", "digest")
TYPES: dict[str, tuple[tuple[str, ...], int]] = {  # dtypes and number of axes
    "features": (("float32", "float16"), 2),
    "labels": (("int32",), 1),
    "utterances/first_frame": (("int64",), 1),
    "utterances/num_frames": (("int64",), 1),
    **{f"utterances/{name}": (("uint8",), 1) for name in TEXT_COLUMNS},
    **{f"utterances/{name}_offsets": (("int64",), 1) for name in TEXT_COLUMNS},
}
AUDIO_TEXT_COLUMNS = ("audio_path", "audio_digest")
AUDIO_COLUMNS = {  # optional: if one is there, all are
    "audio_start": "float64",
    "audio_end": "float64",
    "audio_channel": "int64",
    "audio_row": "int64",
    "audio_size": "int64",
    "audio_mtime_ns": "int64",
}
AUDIO_TYPES: dict[str, tuple[tuple[str, ...], int]] = {
    **{f"utterances/{name}": ((dtype,), 1) for name, dtype in AUDIO_COLUMNS.items()},
    **{f"utterances/{name}": (("uint8",), 1) for name in AUDIO_TEXT_COLUMNS},
    **{f"utterances/{name}_offsets": (("int64",), 1) for name in AUDIO_TEXT_COLUMNS},
}
# Of files with token sequences: if one is there, both are (token_columns.py).
TOKENS, TOKENS_OF = "tokens", "utterances/num_tokens"
TOKEN_TYPES: dict[str, tuple[tuple[str, ...], int]] = {
    TOKENS: (("int32",), 1),
    TOKENS_OF: (("int64",), 1),
}
MAX_CHUNK_BYTES = 1 << 28
MAX_COLUMN_BYTES = 1 << 32  # of the utterance table, which is read whole: 10 million utterances


def open_hdf5(path: Path, *, format: str) -> h5py.File:
    """The HDF5 file at `path`, open for reading, if its attribute `format` is this one.

    Raises:
        CorpusFileError: when it is missing, no regular file, or no such file.
    """
    if not os.path.lexists(path):
        raise CorpusFileError(f"{path} is not there: run 'essence corpus' first")
    if not path.is_file():
        raise CorpusFileError(f"{path} is not a regular file: move it away, run 'essence corpus'")
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as cause:
        raise CorpusFileError(
            f"{path} is not a readable HDF5 file ({cause}): "
            "remove the corpus directory and run 'essence corpus' again"
        ) from cause
    try:
        found = text_attribute(file, "format")
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as cause:
        file.close()
        raise CorpusFileError(f"{path}: its attributes cannot be read ({cause})") from cause
    if found != format:
        file.close()
        raise CorpusFileError(f"{path}: found {found!r}, wanted {format!r}")
    return file


def text_attribute(file: h5py.File, name: str) -> str:
    """A text among the attributes of a file.

    Raises:
        KeyError, TypeError, OSError: when it is missing, of variable length, or damaged.
    """
    value = file.attrs[name]
    if not isinstance(value, np.bytes_):
        raise TypeError(f"attribute {name!r} is a {type(value).__name__}, wanted fixed length")
    return value.decode()


def has_audio(file: h5py.File) -> bool:
    """Whether the utterance table has columns of where the recordings are."""
    return any(name in file for name in AUDIO_TYPES)


def has_tokens(file: h5py.File) -> bool:
    """Whether the utterances have token sequences in place of a class for every frame."""
    return any(name in file for name in TOKEN_TYPES)


def refuse_foreign_layout(file: h5py.File, path: Path) -> None:
    """Make sure that all objects of a corpus file may be opened and read.

    Raises:
        CorpusFileError: naming the first that is missing or not what the writer writes.
    """
    num_bytes = path.stat().st_size
    _refuse_link(file, "utterances", path)
    if not isinstance(file["utterances"], h5py.Group):
        raise CorpusFileError(f"{path}: 'utterances' is not a group")
    types = TYPES | (AUDIO_TYPES if has_audio(file) else {})
    types |= TOKEN_TYPES if has_tokens(file) else {}
    for name, (dtypes, num_axes) in types.items():
        _refuse_link(file, name, path)
        for wrong in _wrong_with(file[name], dtypes, num_axes, file_bytes=num_bytes):
            raise CorpusFileError(f"{path}: {name!r} {wrong}; that is refused")
        if name not in ("features", "labels", TOKENS) and file[name].nbytes > MAX_COLUMN_BYTES:
            raise CorpusFileError(f"{path}: {name!r} declares {file[name].nbytes:,} bytes")


def read_texts(table: h5py.Group, name: str) -> list[str]:
    """A column of texts.

    Raises:
        ValueError: if its offsets do not cut it, or a text is not UTF-8.
    """
    content = table[name][:].tobytes()
    offsets = table[f"{name}_offsets"][:].tolist()
    if offsets[:1] != [0] or offsets[-1] != len(content) or offsets != sorted(offsets):
        raise ValueError(f"{name}_offsets do not cut {len(content)} bytes into texts")
    return [content[start:end].decode() for start, end in pairwise(offsets)]


def _refuse_link(file: h5py.File, name: str, path: Path) -> None:
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise CorpusFileError(f"{path}: {name!r} is missing or a link; links are refused")


def _wrong_with(
    data: Any, dtypes: tuple[str, ...], num_axes: int, *, file_bytes: int
) -> Iterator[str]:
    if not isinstance(data, h5py.Dataset):
        yield f"is a {type(data).__name__}, wanted a dataset"
        return
    if data.external or data.is_virtual:
        yield "lies in another file"
    if data.dtype.name not in dtypes or data.ndim != num_axes:
        yield f"has {data.ndim} axes of {data.dtype}, wanted {num_axes} of {' or '.join(dtypes)}"
    stored = min(data.id.get_storage_size(), file_bytes)
    if data.nbytes > stored:
        yield f"declares {data.nbytes:,} bytes and has {stored:,}"
    chunk = int(np.prod(data.chunks or (0,), dtype=np.int64)) * data.dtype.itemsize
    if chunk > MAX_CHUNK_BYTES:
        yield f"has chunks of {chunk:,} bytes"
