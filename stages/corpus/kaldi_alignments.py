"""Alignments of a split: a pdf id per frame, from ali.scp, or from ali.ark and ali.*.gz.

Archives may be binary or text. With ali.scp one utterance is in memory at a time; archives
without it are read whole: 4 bytes per frame, 1.4 MB per hour.
"""

import gzip
import zlib
from collections.abc import Container, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.archive import read_id
from stages.acoustic.kaldi.location import Location
from stages.acoustic.kaldi.objects import read_int_vector, read_int_vector_here
from stages.acoustic.kaldi.tables import read_scp
from stages.contract.errors import BadInput
from stages.corpus.kaldi_files import alignment_files
from storage.files.regular_file import open_regular


@dataclass(frozen=True, slots=True)
class Alignments:
    """Pdf ids by utterance id: on disk (`located`) or in memory (`held`)."""

    located: dict[str, Location]
    held: dict[str, NDArray[np.int32]]

    def __contains__(self, id: str) -> bool:
        return id in self.located or id in self.held

    def read(self, id: str) -> NDArray[np.int32]:
        """Pdf ids (T,) of an utterance; check with `in` that it has an alignment."""
        return self.held[id] if id in self.held else read_int_vector(self.located[id])


def open_alignments(directory: Path, *, wanted: Container[str]) -> Alignments | None:
    """The alignments in a split's directory, or None if it has none.

    Archives may hold more utterances than the split has: only the `wanted` ones are kept in memory.

    Raises:
        BadInput: if a file is damaged or an utterance occurs twice.
    """
    files = alignment_files(directory)
    if not files:
        return None
    if files[0].name == "ali.scp":
        return Alignments(read_scp(files[0]), {})
    held: dict[str, NDArray[np.int32]] = {}
    for path in files:
        for id, labels_T in _read_archive(path):
            if id in held:
                raise BadInput(f"{path}: utterance {id!r} occurs twice: keep one alignment")
            if id in wanted:
                held[id] = labels_T
    return Alignments({}, held)


def _read_archive(path: Path) -> Iterator[tuple[str, NDArray[np.int32]]]:
    try:
        with ExitStack() as opened:
            stream = opened.enter_context(open_regular(path))
            if path.suffix == ".gz":
                stream = cast(BinaryIO, opened.enter_context(gzip.GzipFile(fileobj=stream)))
            while id := read_id(stream, path):
                yield id, read_int_vector_here(stream, where=f"{path}, utterance {id!r}")
    except (OSError, EOFError, zlib.error) as cause:
        raise BadInput(f"{path}: truncated or damaged ({cause}): copy it again") from cause
