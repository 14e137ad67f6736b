"""ArchiveSource: Kaldi archives of Posteriors or of log-posterior matrices -> frames.

Text and binary, by an scp or as archives, which may be compressed with gzip. One utterance is in
memory at a time.
"""

import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from stages.acoustic.kaldi.archive import read_id
from stages.acoustic.kaldi.posterior import read_frames_here
from stages.acoustic.kaldi.specifier import ToRead
from stages.acoustic.kaldi.tables import read_scp
from stages.contract.errors import BadInput
from storage.exchange.arrays import as_logarithms
from storage.exchange.frames import Advance, DenseFrames, Frames, SourceUtterance
from storage.files.regular_file import open_regular

GZIP = b"\x1f\x8b"


class ArchiveSource:
    """Utterances of archives, one after the other."""

    def __init__(
        self,
        files: Sequence[ToRead],
        *,
        are_logarithms: bool = True,
        is_dense: bool | None = None,
    ) -> None:
        """`is_dense`: do they hold matrices? If it is not given, the first utterance decides."""
        self._files = tuple(files)
        self._are_logarithms = are_logarithms
        self._is_dense = is_dense
        self.name = ", ".join(str(file.path) for file in files)

    @property
    def num_bytes(self) -> int:
        """Bytes of all archives."""
        return sum(_size(path) for file in self._files for path in _archives(file))

    def utterances(self, advance: Advance) -> Iterator[SourceUtterance]:
        """All utterances.

        Raises:
            BadInput: when a file is missing or damaged; names utterance and position.
        """
        for file in self._files:
            try:
                yield from (
                    self._of_scp(file, advance)
                    if file.is_scp
                    else self._of_archive(file.path, advance)
                )
            except (OSError, EOFError, zlib.error) as cause:
                raise BadInput(f"{file.path}: cannot be read ({cause}): copy it again") from cause

    def _of_archive(self, path: Path, advance: Advance) -> Iterator[SourceUtterance]:
        with ExitStack() as opened:
            raw = opened.enter_context(open_regular(path))
            is_compressed = raw.read(len(GZIP)) == GZIP
            raw.seek(0)
            stream = raw
            if is_compressed:
                unzipped = opened.enter_context(gzip.GzipFile(fileobj=raw))
                stream = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, unzipped)))
            done = 0
            while id := read_id(stream, path):
                where = f"{path}, byte {stream.tell()}"
                yield self._utterance(id, stream, where)
                advance(raw.tell() - done)
                done = raw.tell()

    def _of_scp(self, file: ToRead, advance: Advance) -> Iterator[SourceUtterance]:
        done: dict[Path, int] = {}
        path, stream = None, None
        with ExitStack() as opened:
            for id, location in read_scp(file.path).items():
                if stream is None or location.path != path:  # one file is open at a time
                    opened.close()
                    path, stream = location.path, opened.enter_context(open_regular(location.path))
                stream.seek(location.offset)
                yield self._utterance(id, stream, str(location))
                more = max(0, stream.tell() - done.get(location.path, 0))
                done[location.path] = done.get(location.path, 0) + more
                advance(more)

    def _utterance(self, id: str, stream: BinaryIO, where: str) -> SourceUtterance:
        frames: Frames = read_frames_here(
            stream, where=f"{where}, utterance {id!r}", is_dense=self._is_dense
        )
        self._is_dense = isinstance(frames, DenseFrames)
        if isinstance(frames, DenseFrames):
            logp_TC = as_logarithms(frames.logp_TC, are_logarithms=self._are_logarithms)
            frames = DenseFrames(logp_TC)
        return SourceUtterance(id=id, where=where, frames=frames)


def _archives(file: ToRead) -> list[Path]:
    if not file.is_scp:
        return [file.path]
    return list(dict.fromkeys(location.path for location in read_scp(file.path).values()))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as cause:
        raise BadInput(f"{path} cannot be read ({cause.strerror}): name an archive") from cause
