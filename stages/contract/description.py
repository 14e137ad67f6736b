"""Description: a JSON file of ours that says what a directory holds."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from stages.contract.errors import BadInput
from stages.contract.settings import Settings

D = TypeVar("D", bound=Settings)


def read_description(kind: type[D], path: Path, *, advice: str) -> D:
    """The description at `path`; `advice` says what to do where it is none.

    Raises:
        BadInput: naming the first field that is not what was written.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as cause:
        first = cause.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise BadInput(f"{path}: {place}: {first['msg']}: {advice}") from cause
