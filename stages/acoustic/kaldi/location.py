"""Location: where an object of a Kaldi archive starts."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Location:
    """Start of an object: a regular file and a byte offset."""

    path: Path
    offset: int

    def __str__(self) -> str:
        return f"{self.path}, byte {self.offset}"
