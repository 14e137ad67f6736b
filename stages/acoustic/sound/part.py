"""Part: what is read of an audio file. No audio package is loaded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A span of one channel; times are in seconds, `end` None is the end of the file.

    `channel` counts from 0; None is for files of one channel. `duration` is that of the whole file
    as a table states it, if it does.
    """

    start: float = 0.0
    end: float | None = None
    channel: int | None = None
    duration: float | None = None


WHOLE = Part()
