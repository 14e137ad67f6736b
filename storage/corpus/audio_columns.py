"""Audio columns: where the recordings of a corpus file's utterances are.

    audio_path, audio_digest     UTF-8 of all, one after the other, and ..._offsets
    audio_start, audio_end       float64, seconds; end NaN: the end of the file
    audio_channel, audio_size, audio_mtime_ns    int64
    audio_row                    int64, -1: the path is a file, not a folder of a dataset

An utterance without audio has an empty path. Digest, span and channel are part of the identity of
the corpus; path, row, size and time are where the audio was found: moving it changes no result.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from storage.corpus.audio_span import AudioSpan
from storage.corpus.hdf5_layout import AUDIO_COLUMNS, AUDIO_TEXT_COLUMNS, read_texts
from storage.files.fingerprint import canonical_json

NO_ROW = -1
EMPTY = AudioSpan(path="", start=0.0, end=None, channel=0, row=None, size=0, mtime_ns=0, digest="")


def counted(span: AudioSpan) -> list[Any]:
    """What is part of the identity of an utterance."""
    end = None if span.end is None else float(span.end)
    return [span.digest, float(span.start), end, span.channel]


def spans_digest(spans: Iterable[AudioSpan | None]) -> str:
    """SHA-256 of all that the columns have: paths and times too, which HDF5 does not protect."""
    digest = hashlib.sha256()
    for span in spans:
        where = None if span is None else [span.path, span.row, span.size, span.mtime_ns]
        values = None if span is None else [*counted(span), where]
        digest.update(canonical_json(values).encode() + b"\n")
    return digest.hexdigest()


def why_invalid(span: AudioSpan) -> str | None:
    """What of a span cannot be written, or could not be read back."""
    try:
        span.path.encode()
    except UnicodeEncodeError:  # a name of bytes that are no UTF-8, as Python writes it
        return f"the path {span.path!r}, wanted one in UTF-8: rename the file"
    if not span.path or "\0" in span.path:
        return f"the path {span.path!r}, wanted that of a file"
    end = math.inf if span.end is None else span.end
    if not 0 <= span.start < end or math.inf in (span.start, span.end):
        return f"seconds {span.start} to {span.end}, wanted 0 <= start < end"
    if min(span.channel, span.size, 0 if span.row is None else span.row) < 0:
        return f"channel {span.channel}, row {span.row}, size {span.size}: wanted none below 0"
    return None


def texts_of(spans: Sequence[AudioSpan | None]) -> dict[str, list[bytes]]:
    """The columns of texts, by name."""
    rows = [span or EMPTY for span in spans]
    return {
        name: [getattr(row, name.removeprefix("audio_")).encode() for row in rows]
        for name in AUDIO_TEXT_COLUMNS
    }


def numbers_of(spans: Sequence[AudioSpan | None]) -> dict[str, NDArray[Any]]:
    """The columns of numbers, by name."""
    rows = [asdict(span or EMPTY) for span in spans]
    for row in rows:
        row["end"] = math.nan if row["end"] is None else row["end"]
        row["row"] = NO_ROW if row["row"] is None else row["row"]
    return {
        name: np.array([row[name.removeprefix("audio_")] for row in rows], dtype=dtype)
        for name, dtype in AUDIO_COLUMNS.items()
    }


def read_audio(table: h5py.Group) -> list[AudioSpan | None]:
    """The spans of all utterances.

    Raises:
        ValueError: if the columns are not what the writer writes.
    """
    # Utterances of one recording share its path and digest: one object in memory.
    seen: dict[str, str] = {}
    texts = (read_texts(table, name) for name in AUDIO_TEXT_COLUMNS)
    paths, digests = ([seen.setdefault(text, text) for text in each] for each in texts)
    numbers = [table[name][:].tolist() for name in AUDIO_COLUMNS]
    return [
        AudioSpan(
            path=path,
            start=start,
            end=None if math.isnan(end) else end,
            channel=channel,
            row=None if row == NO_ROW else row,
            size=size,
            mtime_ns=mtime_ns,
            digest=digest,
        )
        if path
        else None
        for path, digest, start, end, channel, row, size, mtime_ns in zip(
            paths, digests, *numbers, strict=True
        )
    ]
