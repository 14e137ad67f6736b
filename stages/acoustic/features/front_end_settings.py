"""FrontEndSettings: how features become rows of the corpus file (front_end.py)."""

from typing import Literal

from pydantic import Field

from stages.contract.settings import Settings

DELTA_WINDOW = 2  # frames on each side, Kaldi's default


class FrontEndSettings(Settings):
    """Processing of features before they are stored."""

    cmvn: Literal["none", "global", "speaker", "utterance"] = "speaker"
    norm_vars: bool = True
    deltas: int = Field(default=0, ge=0, le=2)
    splice_left: int = Field(default=1, ge=0, le=20)
    splice_right: int = Field(default=1, ge=0, le=20)
    subsample: int = Field(default=2, ge=1, le=8)
    dtype: Literal["float32", "float16"] = "float32"

    @property
    def look_ahead(self) -> int:
        """Frames after its own that a row is made of; normalisation comes before and needs more."""
        return self.splice_right + self.deltas * DELTA_WINDOW
