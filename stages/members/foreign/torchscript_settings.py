"""Settings of the torchscript kind of member (torchscript_runner.py). Does not load torch."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from stages.contract.settings import NOT_IN_IDENTITY
from stages.members.foreign.torch_settings import TorchMemberSettings


class TorchscriptMemberSettings(TorchMemberSettings):
    """A member by its `torchscript` file, as torch.jit.save writes it."""

    key: ClassVar[str] = "torchscript"
    title: ClassVar[str] = "TorchScript"
    runs: ClassVar[str] = "a TorchScript model"
    model: ClassVar[str] = "model.pt"
    kind: Literal["torchscript"] = "torchscript"
    torchscript: Annotated[Path, NOT_IN_IDENTITY]  # its content counts
