"""Settings that the kinds of foreign members share that torch runs. Does not load torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from stages.members.foreign.settings import TrustedMemberSettings


class TorchMemberSettings(TrustedMemberSettings):
    """A member by one file, under the setting `key`, which the artefact has as `model`."""

    model: ClassVar[str]

    takes_lengths: bool = False  # as a second argument, int64 (1,)
    output_index: int | None = None  # of a tuple

    @property
    def files(self) -> Mapping[str, Path]:
        """The file."""
        return {self.model: getattr(self, self.key)}
