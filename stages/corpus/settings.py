"""CorpusSettings: which speech, and what is done to its features."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import model_validator

from stages.contract.settings import NOT_IN_IDENTITY, Settings
from stages.corpus.front_end import FrontEndSettings
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.spoken.settings import SpokenSettings


class CorpusSettings(Settings):
    """The speech that everything else is made from."""

    source: Literal["spoken", "kaldi"] = "spoken"
    path: Annotated[Path | None, NOT_IN_IDENTITY] = None  # the content of the source counts
    spoken: SpokenSettings = SpokenSettings()
    kaldi: KaldiSettings = KaldiSettings()
    features: FrontEndSettings = FrontEndSettings()

    def identity(self) -> dict[str, Any]:
        """The settings that decide the corpus, next to the content of its source.

        A share of 1 is left out, so that corpora made before the setting existed stay fresh.
        """
        share = {"labelled_share": self.labelled_share} if self.labelled_share < 1 else {}
        return {**super().identity(), **share}

    def not_in_identity(self) -> set[str]:
        """The branch of the source that is not read does not count either."""
        other_source = "kaldi" if self.source == "spoken" else "spoken"
        return super().not_in_identity() | {other_source}

    @property
    def labelled_share(self) -> float:
        """Of train's speakers, how many keep their hard labels."""
        return self.spoken.labelled_share if self.source == "spoken" else self.kaldi.labelled_share

    @model_validator(mode="after")
    def _kaldi_says_something(self) -> Self:
        if self.source == "spoken" and self.kaldi != KaldiSettings():
            raise ValueError(
                "kaldi says how a Kaldi directory is read, source is spoken: give "
                "--set corpus.source=kaldi --set corpus.path=DIR, or leave kaldi out"
            )
        return self

    @model_validator(mode="after")
    def _kaldi_needs_a_path(self) -> Self:
        if self.source == "kaldi" and self.path is None:
            raise ValueError(
                "source kaldi needs a data directory: give path, or --set corpus.path=DIR"
            )
        return self
