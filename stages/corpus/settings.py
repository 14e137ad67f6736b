"""CorpusSettings: which speech, and what is done to its features."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import model_validator

from stages.contract.settings import Settings
from stages.corpus.front_end import FrontEndSettings
from stages.corpus.kaldi_settings import KaldiSettings
from stages.corpus.spoken.settings import SpokenSettings


class CorpusSettings(Settings):
    """The speech that everything else is made from."""

    source: Literal["spoken", "kaldi"] = "spoken"
    path: Path | None = None
    spoken: SpokenSettings = SpokenSettings()
    kaldi: KaldiSettings = KaldiSettings()
    features: FrontEndSettings = FrontEndSettings()

    def identity(self) -> dict[str, Any]:
        """The settings that decide the corpus, beside the content of its source.

        What leaves all speech as it is does not count: corpora from before it was there stay fresh.
        """
        settings = self.model_dump(mode="json", exclude={"path", self._other_source})
        del settings[self.source]["labelled_share"]
        if self.labelled_share < 1:
            settings["labelled_share"] = self.labelled_share
        if self.source == "kaldi" and not self.kaldi.unlabelled:
            del settings["kaldi"]["unlabelled"]
        return settings

    @property
    def labelled_share(self) -> float:
        """Of train's speakers, how many keep their hard labels."""
        return self.spoken.labelled_share if self.source == "spoken" else self.kaldi.labelled_share

    @property
    def _other_source(self) -> str:
        """The branch of the settings that this source does not read."""
        return "kaldi" if self.source == "spoken" else "spoken"

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
