"""Settings of the exported kind of member (exported_runner.py). Does not load torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from stages.contract.settings import NOT_IN_IDENTITY
from stages.members.foreign.settings import TrustedMemberSettings

MODEL = "model.pt2"


class ExportedMemberSettings(TrustedMemberSettings):
    """A member by its `exported` program, the .pt2 file that torch.export.save writes."""

    key: ClassVar[str] = "exported"
    title: ClassVar[str] = "torch.export"
    runs: ClassVar[str] = "a .pt2 program"
    kind: Literal["exported"] = "exported"
    exported: Annotated[Path, NOT_IN_IDENTITY]  # its content counts
    takes_lengths: bool = False  # as a second argument, int64 (1,)
    output_index: int | None = None  # of a tuple

    @property
    def files(self) -> Mapping[str, Path]:
        """The program."""
        return {MODEL: self.exported}
