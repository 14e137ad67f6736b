"""Passes: results of an alignment's finished passes on disk, for a run after an interruption.

    NAME.KEY.DIGEST.safetensors     KEY: of all that the alignment depends on; DIGEST: of the bytes

A file is whole or not there. One with another key is of other speech, settings or versions, and is
removed. The folder is removed when the corpus is finished.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from stages.corpus.align.hmms import Alignment
from storage.files.fingerprint import SHORT, fingerprint
from storage.files.publish import publish_file

SUFFIX = ".safetensors"
Arrays = Mapping[str, NDArray[np.generic]]


class Passes:
    """The results in a folder, which is made if it is not there.

    `inputs`, plain data, is everything that the results depend on.
    """

    def __init__(self, folder: Path, *, inputs: object) -> None:
        self._folder = folder
        self._key = fingerprint(inputs)[:SHORT]
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            if path.name.split(".")[1:2] != [self._key]:
                path.unlink()

    def newest(self, names: Sequence[str]) -> str | None:
        """The last of the names that has a result."""
        return next((name for name in reversed(names) if self._file(name)), None)

    def read(self, name: str) -> dict[str, NDArray[np.generic]] | None:
        """The arrays of a result; None if it is not there, or damaged."""
        path = self._file(name)
        if path is None:
            return None
        content = path.read_bytes()
        if path.name != self._name(name, content):
            return None
        try:
            return dict(load(content))
        except SafetensorError:
            return None

    def write(self, name: str, arrays: Arrays, *, instead_of: str | None = None) -> None:
        """Keep a result, and remove another one, which is not needed any more."""
        content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()})
        publish_file(self._folder / self._name(name, content), content)
        if instead_of is not None and (before := self._file(instead_of)):
            before.unlink()

    def read_alignment(self, name: str) -> Alignment | None:
        """As `read`, for what `write_alignment` wrote."""
        arrays = self.read(name)
        if arrays is None:
            return None
        ends = np.cumsum(arrays["lengths"])[:-1]
        pieces = np.split(arrays["values"].astype(np.int64), ends)
        return dict(zip(arrays["numbers"].tolist(), pieces, strict=True))

    def write_alignment(
        self, name: str, alignment: Alignment, *, instead_of: str | None = None
    ) -> None:
        """Keep an alignment, in 4 bytes a frame."""
        values = np.concatenate([*alignment.values(), np.empty(0, np.int64)])
        arrays: dict[str, NDArray[np.generic]] = {
            "numbers": np.fromiter(alignment, np.int64, len(alignment)),
            "lengths": np.fromiter(map(len, alignment.values()), np.int64, len(alignment)),
            "values": values.astype(np.int32),
        }
        self.write(name, arrays, instead_of=instead_of)

    def _file(self, name: str) -> Path | None:
        return next(self._folder.glob(f"{name}.{self._key}.*{SUFFIX}"), None)

    def _name(self, name: str, content: bytes) -> str:
        return f"{name}.{self._key}.{sha256(content).hexdigest()[:SHORT]}{SUFFIX}"
