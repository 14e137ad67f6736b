"""CorpusSettings: which speech, and what is done to its features."""

from pathlib import Path
from typing import Literal, Self

from pydantic import model_validator

from stages.corpus.front_end import FrontEndSettings
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.spoken.settings import SpokenSettings
from stages.speech.settings import Settings


class CorpusSettings(Settings):
    """The speech that everything else is made from."""

    source: Literal["spoken", "kaldi"] = "spoken"
    path: Path | None = None
    spoken: SpokenSettings = SpokenSettings()
    kaldi: KaldiSettings = KaldiSettings()
    features: FrontEndSettings = FrontEndSettings()

    @model_validator(mode="after")
    def _kaldi_needs_a_path(self) -> Self:
        if self.source == "kaldi" and self.path is None:
            raise ValueError(
                "source kaldi needs a data directory: give path, or --set corpus.path=DIR"
            )
        return self
