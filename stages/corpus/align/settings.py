"""AlignSettings: how transcribed speech gets its hard labels and its lang."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from stages.contract.settings import NOT_IN_IDENTITY, Settings

GRAPHEMES, ESPEAK = "graphemes", "espeak:"
METHOD = 2  # raised when the same settings give other labels: corpora are made again


class AlignSettings(Settings):
    """Lexicon, size of the HMMs and language model of an alignment (docs/alignment.md).

    `lexicon` is a file (`word phone phone ...`, a line for each pronunciation), `graphemes` (the
    letters of a word are its phones), or `espeak:LANG`, the pronunciations of espeak-ng.
    `arpa` is a language model; without one, a bigram model of the transcripts of train is made.
    The contents of both files count for the identity of the corpus, their paths do not.
    """

    lexicon: str = Field(min_length=1)
    unknown_words: Literal["skip", "unk", "fail"] = "fail"
    states: int = Field(3, ge=1, le=5)  # of a phone, left to right
    min_count: int = Field(120, ge=1)  # frames that a context needs for a separate class
    realignments: int = Field(5, ge=1, le=8)  # by a network, after those by Gaussians
    arpa: Annotated[Path | None, NOT_IN_IDENTITY] = None
    seed: int = Field(1, ge=0)

    @property
    def lexicon_file(self) -> Path | None:
        """The file of the lexicon; None if pronunciations are made by a rule."""
        is_rule = self.lexicon == GRAPHEMES or self.lexicon.startswith(ESPEAK)
        return None if is_rule else Path(self.lexicon)

    def identity(self) -> dict[str, Any]:
        """The settings that count, and the method; a lexicon file counts by its content."""
        lexicon = "file" if self.lexicon_file else self.lexicon
        return super().identity() | {"lexicon": lexicon, "method": METHOD}
