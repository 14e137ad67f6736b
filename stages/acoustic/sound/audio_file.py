"""audio file -> samples at the rate of the features, on the scale of 16-bit integers.

WAV, FLAC, OGG and whatever else libsndfile reads; other sample rates are resampled by soxr.

Shapes: T samples.
"""

import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from stages.acoustic.features.rates import SAMPLE_RATE
from stages.contract.errors import BadInput

FULL_SCALE = 32_768.0  # libsndfile divides 16-bit integers by it: exact both ways
LEAST_SECONDS = 0.1  # of speech: less holds no word
LARGEST_SIZE = 0x7FFF_F000  # a header that a pipe wrote states about 2 or 4 GiB, or nothing
ROUNDING_SECONDS = 0.02  # by which a time in a table may lie after the last sample
OGG_PAGE, LARGEST_OGG_PAGE, OGG_HEAD = b"OggS", 65_307, 27  # RFC 3533, section 6
_DATA_SIZE = re.compile(r"^\s*data\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)

Wave = NDArray[np.float32]


def read_audio(path: Path, *, start: float = 0.0, end: float | None = None) -> Wave:
    """The samples of a file, or those between two times in seconds, at SAMPLE_RATE.

    Raises:
        BadInput: if the file is missing, no audio, truncated, empty, silent, shorter than
            LEAST_SECONDS, of several channels, or ends before `end`.
    """
    if not path.is_file():
        raise BadInput(f"{path} is {'a directory' if path.is_dir() else 'missing'}: name a file")
    if not path.stat().st_size:
        raise BadInput(f"{path} is empty: 0 bytes")
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            _check_header(path, file)
            if file.format == "OGG":
                with path.open("rb") as stream:
                    _refuse_cut_ogg(path, stream)
            samples_T = _read_span(path, file, start, end)
            rate = file.samplerate
    except (soundfile.SoundFileError, RuntimeError) as cause:
        reason = " ".join(str(getattr(cause, "error_string", cause)).split())
        raise BadInput(
            f"{path} cannot be read as audio ({reason or 'no reason is known'}): is it truncated, "
            "or no WAV, FLAC or OGG file?"
        ) from cause
    if rate != SAMPLE_RATE:
        samples_T = soxr.resample(samples_T, rate, SAMPLE_RATE, quality="VHQ")
    return np.ascontiguousarray(samples_T * np.float32(FULL_SCALE), dtype=np.float32)


def _check_header(path: Path, file: soundfile.SoundFile) -> None:
    if file.channels != 1:
        raise BadInput(
            f"{path} has {file.channels} channels, wanted 1: write the one that holds the speech "
            "to a file of its own (sox IN OUT remix 1)"
        )
    sizes = _DATA_SIZE.search(file.extra_info)
    if sizes and int(sizes[2]) < int(sizes[1]) < LARGEST_SIZE:
        raise BadInput(
            f"{path} is truncated: its header states {sizes[1]} bytes of samples, it has "
            f"{sizes[2]}: copy it again"
        )


def _refuse_cut_ogg(path: Path, stream: BinaryIO) -> None:
    """An Ogg file ends with a whole page that is marked as the last (RFC 3533, section 6).

    libsndfile reads a file without it to its last whole page, as if the speech ended there.
    """
    size = path.stat().st_size
    stream.seek(max(0, size - LARGEST_OGG_PAGE))
    end = stream.read()
    page = end[end.rfind(OGG_PAGE) :]
    num_segments = page[OGG_HEAD - 1] if len(page) >= OGG_HEAD else 0
    segments = page[OGG_HEAD : OGG_HEAD + num_segments]
    is_last = len(page) >= OGG_HEAD and bool(page[5] & 4)
    if not is_last or len(page) != OGG_HEAD + num_segments + sum(segments):
        raise BadInput(f"{path} is truncated: it has no last page of an Ogg stream: copy it again")


def _read_span(path: Path, file: soundfile.SoundFile, start: float, end: float | None) -> Wave:
    first = round(start * file.samplerate)
    last = file.frames if end is None else round(end * file.samplerate)
    if last > file.frames + ROUNDING_SECONDS * file.samplerate:
        raise BadInput(
            f"{path} ends after {file.frames / file.samplerate:.3f} s, wanted speech until "
            f"{end:.3f} s: is it the right recording?"
        )
    last = min(last, file.frames)
    if last - first < LEAST_SECONDS * file.samplerate:
        raise BadInput(
            f"{path} is too short: {max(0, last - first) / file.samplerate:.3f} s of speech, "
            f"wanted {LEAST_SECONDS} s at least"
        )
    file.seek(first)
    samples_T: Wave = file.read(last - first, dtype="float32")
    if len(samples_T) < last - first:
        raise BadInput(
            f"{path} is truncated: {len(samples_T)} of {last - first} samples could be read: copy "
            "it again"
        )
    if not np.isfinite(samples_T).all():
        raise BadInput(f"{path} has samples that are no numbers: write it again")
    if samples_T.min() == samples_T.max():
        raise BadInput(f"{path} is silent: all samples are {samples_T[0]:g}")
    return samples_T
