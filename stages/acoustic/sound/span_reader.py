"""SpanReader: the samples of an AudioSpan, and the AudioSpan of what a row of a table names."""

import hashlib
import os
from pathlib import Path

from stages.acoustic.sound.audio_file import Wave, decode_audio, read_audio
from stages.acoustic.sound.dataset_audio import STATE_FILE, DatasetAudio
from stages.acoustic.sound.file_digests import FileDigests
from stages.acoustic.sound.part import Part
from stages.acoustic.sound.speech_table import SpeechRow
from storage.corpus.audio_span import AudioSpan


class SpanReader:
    """Reads audio files, and those that datasets contain. It keeps digests and open datasets."""

    def __init__(self) -> None:
        self._digests = FileDigests()
        self._datasets: dict[Path, DatasetAudio] = {}

    def locate(self, row: SpeechRow) -> AudioSpan:
        """Where the audio of a row is, with the digest of the whole encoded file.

        Raises:
            BadInput: if it is missing or cannot be read.
        """
        path = row.path.absolute()
        if row.row is None:
            state, digest = self._digests.of(path)
            size, mtime_ns = state.size, state.mtime_ns
        else:
            encoded = self._dataset(path).encoded(row.row)
            size, mtime_ns = len(encoded), (path / STATE_FILE).stat().st_mtime_ns
            digest = hashlib.sha256(encoded).hexdigest()
        return AudioSpan(
            path=os.fsdecode(path),
            start=row.start,
            end=row.end,
            channel=row.channel or 0,
            row=row.row,
            size=size,
            mtime_ns=mtime_ns,
            digest=digest,
        )

    def read(self, row: SpeechRow) -> Wave:
        """The samples of a row, at SAMPLE_RATE, on the scale of 16-bit integers.

        Raises:
            BadInput: as `read_audio`.
        """
        return self._decode(row.path, row.row, row.part)

    def read_again(self, span: AudioSpan) -> Wave:
        """The samples of a span whose audio was read before.

        Raises:
            BadInput: as `read_audio`.
        """
        part = Part(start=span.start, end=span.end, channel=span.channel)
        return self._decode(Path(span.path), span.row, part)

    def _decode(self, path: Path, row: int | None, part: Part) -> Wave:
        if row is None:
            return read_audio(path, part)
        return decode_audio(self._dataset(path).encoded(row), part, name=f"{path}, row {row}")

    def _dataset(self, path: Path) -> DatasetAudio:
        path = path.absolute()
        if path not in self._datasets:
            self._datasets[path] = DatasetAudio(path)
        return self._datasets[path]
