"""Settings: the frozen, strict pydantic model that every settings class is.

Every field counts for the identity of what a stage makes, unless it is marked where it is declared:

    threads: Annotated[int, NOT_IN_IDENTITY] = 1     # changes speed alone

Another value of a field that counts names another artefact, so that a marked field must never
change what is made.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from storage.format.temperatures import LARGEST_TEMPERATURE, SMALLEST_TEMPERATURE

# Frames that two accounts of one utterance may differ by: 1 where programs round the last window
# differently. More is another utterance, or another frame rate.
LengthDifference = Literal[0, 1]
Temperature = Annotated[float, Field(ge=SMALLEST_TEMPERATURE, le=LARGEST_TEMPERATURE)]


@dataclass(frozen=True, slots=True)
class _Mark:
    """Metadata of a field; pydantic passes it over."""

    text: str


NOT_IN_IDENTITY: Final = _Mark("not in identity")


class Settings(BaseModel):
    """Validated when constructed; unknown keys are refused; never changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def identity(self) -> dict[str, Any]:
        """The settings that count, as JSON values, at every depth."""
        left_out = self.not_in_identity()
        values = self.model_dump(mode="json", exclude=left_out)
        return {name: _identity(getattr(self, name), value) for name, value in values.items()}

    def not_in_identity(self) -> set[str]:
        """Names of the fields that do not count: those that are marked.

        A class whose fields count under a condition adds them here, and says why.
        """
        fields = type(self).model_fields.items()
        return {name for name, field in fields if NOT_IN_IDENTITY in field.metadata}

    def at_default(self, *names: str) -> set[str]:
        """Those of these fields that have their defaults.

        A class leaves such fields out of the identity where they are younger than artefacts that
        users have made, so that those stay fresh.
        """
        fields = type(self).model_fields
        return {name for name in names if getattr(self, name) == fields[name].default}


def _identity(value: Any, dumped: Any) -> Any:
    if isinstance(value, Settings):
        return value.identity()
    if isinstance(value, tuple):
        return [_identity(*pair) for pair in zip(value, dumped, strict=True)]
    return dumped
