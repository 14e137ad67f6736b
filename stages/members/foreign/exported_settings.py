"""Settings of the exported kind of member (exported_runner.py). Does not load torch."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from stages.contract.settings import NOT_IN_IDENTITY
from stages.members.foreign.torch_settings import TorchMemberSettings


class ExportedMemberSettings(TorchMemberSettings):
    """A member by its `exported` program, the .pt2 file that torch.export.save writes."""

    key: ClassVar[str] = "exported"
    title: ClassVar[str] = "torch.export"
    runs: ClassVar[str] = "a .pt2 program"
    model: ClassVar[str] = "model.pt2"
    kind: Literal["exported"] = "exported"
    exported: Annotated[Path, NOT_IN_IDENTITY]  # its content counts
