"""CheckedAudio: the samples of an AudioSpan, if its file is what the corpus was made of.

Each file is compared with its digest when it is first read, and again when its size or time has
changed since. Where it is does not matter to a corpus; what it has does.
"""

import hashlib
from pathlib import Path

import numpy as np

from stages.acoustic.sound.audio_file import FULL_SCALE, Wave, decode_audio, read_audio
from stages.acoustic.sound.dataset_audio import DatasetAudio
from stages.acoustic.sound.file_digests import FileDigests, FileState
from stages.acoustic.sound.part import Part
from stages.contract.errors import BadInput
from storage.corpus.audio_span import AudioSpan
from storage.files.fingerprint import SHORT

REMEDY = "remove the corpus directory and run 'essence corpus' again"


class CheckedAudio:
    """Reads spans at `rate`, in -1 to 1. It keeps the samples of the last one."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._digests = FileDigests()
        self._datasets: dict[str, DatasetAudio] = {}
        self._last: tuple[AudioSpan, Wave] | None = None

    def read(self, span: AudioSpan) -> Wave:
        """All samples of a span, (T,) float32.

        Raises:
            BadInput: if the file is missing, was changed since the corpus was made or while it was
                read, or cannot be read as audio.
        """
        if self._last is None or self._last[0] != span:
            self._last = None  # before the next is read: one is in memory at a time
            part = Part(start=span.start, end=span.end, channel=span.channel)
            read = self._of_file if span.row is None else self._of_dataset
            # A power of two: the division is exact.
            self._last = span, read(span, part) * np.float32(1 / FULL_SCALE)
        return self._last[1]

    def _of_file(self, span: AudioSpan, part: Part) -> Wave:
        path = Path(span.path)
        _refuse_missing(path)
        before, digest = self._digests.of(path)
        _compare(str(path), digest, span)
        samples_T = read_audio(path, part, rate=self._rate)
        if FileState.of(path) != before:
            raise BadInput(f"{path} changed while it was read: run the same command again")
        return samples_T

    def _of_dataset(self, span: AudioSpan, part: Part) -> Wave:
        """Its bytes are in memory: all of them are compared, every time."""
        name = f"{span.path}, row {span.row}"
        if span.path not in self._datasets:
            _refuse_missing(Path(span.path))
            self._datasets[span.path] = DatasetAudio(Path(span.path))
        dataset = self._datasets[span.path]
        if span.row is None or span.row >= len(dataset):
            raise BadInput(
                f"{span.path} has {len(dataset)} rows, the corpus was made of row {span.row}: put "
                f"that dataset back, or {REMEDY}"
            )
        encoded = dataset.encoded(span.row)
        _compare(name, hashlib.sha256(encoded).hexdigest(), span)
        return decode_audio(encoded, part, name=name, rate=self._rate)


def _compare(name: str, found: str, span: AudioSpan) -> None:
    if found != span.digest:
        raise BadInput(
            f"{name} is not the audio that the corpus was made of (found sha256 "
            f"{found[:SHORT]}, wanted {span.digest[:SHORT]}): put that back, or {REMEDY}"
        )


def _refuse_missing(path: Path) -> None:
    try:
        path.stat()
    except FileNotFoundError as cause:
        raise BadInput(
            f"{path} is missing, and the corpus was made of it: put it back; or, if the audio was "
            f"moved, set corpus.path to where it is now and {REMEDY}, which gives the same corpus"
        ) from cause
    except OSError as cause:
        raise BadInput(f"{path} cannot be read ({cause.strerror})") from cause
