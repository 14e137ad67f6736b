"""Settings of the torchscript kind of member (torchscript_runner.py). Does not load torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from stages.contract.settings import NOT_IN_IDENTITY
from stages.members.foreign.settings import TrustedMemberSettings

MODEL = "model.pt"


class TorchscriptMemberSettings(TrustedMemberSettings):
    """A member by its `torchscript` file, as torch.jit.save writes it."""

    key: ClassVar[str] = "torchscript"
    title: ClassVar[str] = "TorchScript"
    runs: ClassVar[str] = "a TorchScript model"
    kind: Literal["torchscript"] = "torchscript"
    torchscript: Annotated[Path, NOT_IN_IDENTITY]  # its content counts
    takes_lengths: bool = False  # as a second argument, int64 (1,)
    output_index: int | None = None  # of a tuple

    @property
    def files(self) -> Mapping[str, Path]:
        """The model."""
        return {MODEL: self.torchscript}
