"""Settings: the frozen, strict pydantic model that every settings class is."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Validated at the door; unknown keys are refused; never changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
