"""AudioSpan: where the recording of an utterance is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioSpan:
    """A part of one channel of an audio file, and what the file was when it was read.

    `path` is absolute. `start` and `end` are in seconds; `end` None is the end of the file. `row`
    is the position in `path` if that is a folder of a dataset that contains the audio, else None.
    `digest` is the SHA-256 of the encoded audio: of the file's bytes, or of those in the row.
    """

    path: str
    start: float
    end: float | None
    channel: int
    row: int | None
    size: int
    mtime_ns: int
    digest: str
