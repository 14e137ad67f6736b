"""KaldiSettings: how a Kaldi data directory is read."""

from typing import Literal

from pydantic import Field

from stages.speech.settings import LengthDifference, Settings


class KaldiSettings(Settings):
    """How a Kaldi data directory is read. The folder names are below `corpus.path`."""

    train: str = "train"
    dev: str = "dev"
    test: str = "test"
    lang: str = "lang"
    frame_shift_ms: float = Field(default=10.0, gt=0)
    max_length_difference: LengthDifference = 0  # features, labels; 1: the longer one is trimmed
    unknown_words: Literal["fail", "keep"] = "fail"
