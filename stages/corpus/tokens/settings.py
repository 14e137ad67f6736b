"""TokenSettings: the inventory of a corpus of token sequences."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stages.contract.settings import NOT_IN_IDENTITY, Settings
from stages.corpus.align.settings import ESPEAK, GRAPHEMES

Inventory = Literal["characters", "phones", "pieces"]


class TokenSettings(Settings):
    """How transcripts become token sequences (docs/ctc.md). Class 0 is the blank.

    `characters` are those of train's transcripts; `phones` those of `lexicon`, a file (`word phone
    phone ...`) or `espeak:LANG`, and of the spoken corpus's own lexicon; `pieces` are the word
    pieces of SentencePiece, of the model file `piece_model` or of one that is trained on train's
    transcripts with up to `num_pieces`. `arpa` is a language model; without one, a bigram model of
    the transcripts of train is made. The contents of the files count, their paths do not.
    """

    inventory: Inventory = "characters"
    lexicon: str | None = Field(None, min_length=1)
    num_pieces: int = Field(200, ge=10, le=5000)
    piece_model: Annotated[Path | None, NOT_IN_IDENTITY] = None
    arpa: Annotated[Path | None, NOT_IN_IDENTITY] = None

    @property
    def lexicon_file(self) -> Path | None:
        """The file of the lexicon; None if there is none, or espeak-ng is asked."""
        is_file = self.lexicon is not None and not self.lexicon.startswith(ESPEAK)
        return Path(self.lexicon) if self.lexicon is not None and is_file else None

    def identity(self) -> dict[str, Any]:
        """The settings that count; a lexicon file counts by its content."""
        return super().identity() | ({"lexicon": "file"} if self.lexicon_file else {})

    def not_in_identity(self) -> set[str]:
        """Also the number of pieces, where none are counted."""
        counts = self.inventory == "pieces" and self.piece_model is None
        return super().not_in_identity() | (set() if counts else {"num_pieces"})

    @model_validator(mode="after")
    def _inventory_has_what_it_needs(self) -> Self:
        if self.lexicon is not None and self.inventory != "phones":
            raise ValueError(
                f"lexicon gives phones, and inventory is {self.inventory}: remove lexicon, or set "
                "inventory to phones"
            )
        if self.lexicon == GRAPHEMES:
            raise ValueError(
                "lexicon is graphemes: set inventory to characters, which needs no lexicon"
            )
        if self.piece_model is not None and self.inventory != "pieces":
            raise ValueError(
                f"piece_model gives word pieces, and inventory is {self.inventory}: remove "
                "piece_model, or set inventory to pieces"
            )
        return self
