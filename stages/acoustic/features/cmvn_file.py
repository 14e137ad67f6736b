"""cmvn.json: sums over frames of speech, from which features are normalised.

{"num_frames": 46812, "sum": [...], "squares": [...]}       one number for each feature
"""

from pathlib import Path
from typing import Self

import numpy as np
from pydantic import Field, model_validator

from stages.acoustic.features.front_end import Moments
from stages.contract.description import read_description
from stages.contract.errors import BadInput
from stages.contract.settings import Settings
from storage.files.publish import publish_file

CMVN_FILE = "cmvn.json"


class _CmvnFile(Settings):
    num_frames: int = Field(ge=1)
    sum: tuple[float, ...] = Field(min_length=1)
    squares: tuple[float, ...]

    @model_validator(mode="after")
    def _lengths_agree(self) -> Self:
        if len(self.sum) != len(self.squares):
            raise ValueError(f"{len(self.sum)} sums, but {len(self.squares)} squares")
        return self


def write_moments(path: Path, moments: Moments) -> None:
    """Write the sums, exactly: a float64 is read back as it was."""
    content = _CmvnFile(
        num_frames=moments.num_frames,
        sum=tuple(moments.sum_F.tolist()),
        squares=tuple(moments.squares_F.tolist()),
    )
    publish_file(path, content.model_dump_json(indent=1).encode() + b"\n")


def read_moments(path: Path) -> Moments:
    """The sums in a file.

    Raises:
        BadInput: if the file is missing or no cmvn.json.
    """
    if not path.is_file():
        raise BadInput(f"{path} is no file: name a {CMVN_FILE}, as exports have it")
    found = read_description(_CmvnFile, path, advice=f"wanted a {CMVN_FILE}, as exports have it")
    return Moments(found.num_frames, np.array(found.sum), np.array(found.squares))
