"""Settings of the onnx kind of member (onnx_runner.py). Does not load torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from stages.contract.settings import NOT_IN_IDENTITY
from stages.members.foreign.settings import ForeignMemberSettings

MODEL = "model.onnx"


class OnnxMemberSettings(ForeignMemberSettings):
    """A member by its `onnx` file, which onnxruntime runs on the processor.

    Names of inputs and outputs are needed only where the model has several.
    """

    key: ClassVar[str] = "onnx"
    title: ClassVar[str] = "ONNX"
    kind: Literal["onnx"] = "onnx"
    onnx: Annotated[Path, NOT_IN_IDENTITY]  # its content counts
    external_data: tuple[str, ...] = ()  # files next to it that hold its weights
    features_input: str | None = None
    lengths_input: str | None = None
    output_name: str | None = None
    threads: int = Field(1, ge=1)  # other sums of other threads may have other last bits

    @property
    def files(self) -> Mapping[str, Path]:
        """The model, and its weights where they lie in files of their own."""
        beside = {name: self.onnx.parent / name for name in self.external_data}
        return {MODEL: self.onnx, **beside}

    @model_validator(mode="after")
    def _external_data_are_names(self) -> Self:
        for name in self.external_data:
            if name in ("", ".", "..", MODEL) or Path(name).name != name:
                raise ValueError(f"external_data {name!r}: wanted names of files next to the model")
        return self
