"""Settings: the frozen, strict pydantic model that every settings class is."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

# Frames that two accounts of one utterance may differ by: 1 where programs round the last window
# differently. More is another utterance, or another frame rate.
LengthDifference = Literal[0, 1]


class Settings(BaseModel):
    """Validated at the door; unknown keys are refused; never changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
