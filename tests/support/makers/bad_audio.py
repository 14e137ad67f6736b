"""Makers of audio that cannot be used, and the message of the build that refuses it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.corpus.build import build_corpus
from stages.corpus.settings import CorpusSettings
from tests.support.makers.audio import AudioFolder

RATE = 16_000


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def silence(path: Path) -> None:
    soundfile.write(path, np.zeros(RATE, np.int16), RATE)


def two_channels(path: Path) -> None:
    samples = soundfile.read(path, dtype="int16")[0]
    soundfile.write(path, np.stack([samples, samples], axis=1), RATE)


def no_audio(path: Path) -> None:
    path.write_text("no audio at all")


def refused(copy: AudioFolder, path: Path, out: Path, **settings: Any) -> str:
    """The message of a build that fails, which leaves nothing but whole files."""
    out.mkdir()
    how = CorpusSettings.model_validate(
        {"source": "audio", "path": path, "audio": {**copy.labels, **settings}}
    )
    with pytest.raises(BadInput) as caught:
        build_corpus(how, directory=out, progress=SilentProgress())
    assert not list(out.iterdir())
    message = str(caught.value)
    assert "\n" not in message
    return message
