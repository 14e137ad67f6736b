"""audio file -> samples, at the rate of the features or another, on the scale of 16-bit integers.

WAV, FLAC, OGG, MP3 and whatever else libsndfile reads; other sample rates are resampled by soxr.

Shapes: T samples, C channels.
"""

import os
import re
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from stages.acoustic.features.rates import SAMPLE_RATE
from stages.acoustic.sound.part import WHOLE, Part
from stages.contract.errors import BadInput

FULL_SCALE = 32_768.0  # libsndfile divides 16-bit integers by it: exact both ways
LEAST_SECONDS = 0.1  # of speech: less holds no word
LARGEST_SIZE = 0x7FFF_F000  # a header that a pipe wrote states about 2 or 4 GiB, or nothing
ROUNDING_SECONDS = 0.02  # by which a time in a table may lie after the last sample
OGG_PAGE, LARGEST_OGG_PAGE, OGG_HEAD = b"OggS", 65_307, 27  # RFC 3533, section 6
_DATA_SIZE = re.compile(r"^\s*data\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)

Wave = NDArray[np.float32]


def read_audio(path: Path, part: Part = WHOLE, *, rate: int = SAMPLE_RATE) -> Wave:
    """The samples of a file, or of a part of it, at `rate`.

    Raises:
        BadInput: if the file is missing, no audio, truncated, empty, silent, shorter than
            LEAST_SECONDS, has not the duration that is stated, ends before the part does, or has
            several channels and none is chosen.
    """
    if not path.is_file():
        raise BadInput(f"{path} is {'a directory' if path.is_dir() else 'missing'}: name a file")
    with path.open("rb") as stream:
        return _decode(str(path), os.fsencode(path), stream, part, rate)


def decode_audio(encoded: bytes, part: Part = WHOLE, *, name: str, rate: int = SAMPLE_RATE) -> Wave:
    """The samples of a file whose bytes are in memory; `name` is for messages.

    Raises:
        BadInput: as `read_audio`.
    """
    stream = BytesIO(encoded)
    return _decode(name, stream, BytesIO(encoded), part, rate)


def _decode(name: str, source: bytes | BytesIO, stream: BinaryIO, part: Part, rate: int) -> Wave:
    """`stream` has the bytes of `source`, a path or a file in memory."""
    if not stream.seek(0, os.SEEK_END):
        raise BadInput(f"{name} is empty: 0 bytes")
    try:
        with soundfile.SoundFile(source) as file:
            _check_header(name, file, part)
            if file.format == "OGG":
                _refuse_cut_ogg(name, stream)
            samples_T = _read_part(name, file, part)
            found_rate = file.samplerate
    except (soundfile.SoundFileError, RuntimeError) as cause:
        reason = " ".join(str(getattr(cause, "error_string", cause)).split())
        raise BadInput(
            f"{name} cannot be read as audio ({reason or 'no reason is known'}): is it truncated, "
            "or no WAV, FLAC, OGG or MP3 file?"
        ) from cause
    if found_rate != rate:
        samples_T = soxr.resample(samples_T, found_rate, rate, quality="VHQ")
    return np.ascontiguousarray(samples_T * np.float32(FULL_SCALE), dtype=np.float32)


def _check_header(name: str, file: soundfile.SoundFile, part: Part) -> None:
    if part.channel is None and file.channels != 1:
        raise BadInput(
            f"{name} has {file.channels} channels, wanted 1: choose the one that has the speech "
            "(channel, which counts from 0), or write it to a file of its own (sox IN OUT remix 1)"
        )
    if part.channel is not None and part.channel >= file.channels:
        raise BadInput(
            f"{name} has {file.channels} channels, wanted channel {part.channel}, counted from 0"
        )
    sizes = _DATA_SIZE.search(file.extra_info)
    if sizes and int(sizes[2]) < int(sizes[1]) < LARGEST_SIZE:
        raise BadInput(
            f"{name} is truncated: its header states {sizes[1]} bytes of samples, it has "
            f"{sizes[2]}: copy it again"
        )
    seconds = file.frames / file.samplerate
    if part.duration is not None and abs(seconds - part.duration) > ROUNDING_SECONDS:
        raise BadInput(
            f"{name} is {seconds:.3f} s long, its table states {part.duration:.3f} s: is it the "
            "right recording, and whole?"
        )


def _refuse_cut_ogg(name: str, stream: BinaryIO) -> None:
    """An Ogg file ends with a whole page that is marked as the last (RFC 3533, section 6).

    libsndfile reads a file without it to its last whole page, as if the speech ended there.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - LARGEST_OGG_PAGE))
    end = stream.read()
    page = end[end.rfind(OGG_PAGE) :]
    num_segments = page[OGG_HEAD - 1] if len(page) >= OGG_HEAD else 0
    segments = page[OGG_HEAD : OGG_HEAD + num_segments]
    is_last = len(page) >= OGG_HEAD and bool(page[5] & 4)
    if not is_last or len(page) != OGG_HEAD + num_segments + sum(segments):
        raise BadInput(f"{name} is truncated: it has no last page of an Ogg stream: copy it again")


def _read_part(name: str, file: soundfile.SoundFile, part: Part) -> Wave:
    first = round(part.start * file.samplerate)
    last = file.frames if part.end is None else round(part.end * file.samplerate)
    if last > file.frames + ROUNDING_SECONDS * file.samplerate:
        raise BadInput(
            f"{name} ends after {file.frames / file.samplerate:.3f} s, wanted speech until "
            f"{part.end:.3f} s: is it the right recording?"
        )
    last = min(last, file.frames)
    if last - first < LEAST_SECONDS * file.samplerate:
        raise BadInput(
            f"{name} is too short: {max(0, last - first) / file.samplerate:.3f} s of speech, "
            f"wanted {LEAST_SECONDS} s at least"
        )
    file.seek(first)
    samples_TC = file.read(last - first, dtype="float32", always_2d=True)
    samples_T: Wave = samples_TC[:, part.channel or 0]
    if len(samples_T) < last - first:
        raise BadInput(
            f"{name} is truncated: {len(samples_T)} of {last - first} samples could be read: copy "
            "it again"
        )
    if not np.isfinite(samples_T).all():
        raise BadInput(f"{name} has samples that are no numbers: write it again")
    if samples_T.min() == samples_T.max():
        raise BadInput(f"{name} is silent: all samples are {samples_T[0]:g}")
    return samples_T
