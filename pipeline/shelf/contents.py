"""Contents: digests of an artefact's files, taken when it was made, and the check against them.

    work/student-3f9c0a71b2d4/files.sha256    as `sha256sum -c files.sha256` reads it

Corpus files, stores and weights are not listed: their readers check every block that they read. Nor
is speed.json: nothing that a stopwatch measured is part of a result.
"""

import re
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import Changed
from stages.contract.results import SPEED_FILE
from storage.files.fingerprint import file_digest
from storage.files.publish import publish_file

LIST = "files.sha256"
CHECKED_ELSEWHERE = (".h5", ".safetensors")
STORE = ".zarr"
M = TypeVar("M", bound=BaseModel)
_LINE = re.compile(r"(?P<digest>[0-9a-f]{64})  (?P<name>[^\n]+)")


def list_contents(directory: Path) -> None:
    """Write the list of a complete artefact."""
    names = [path.relative_to(directory).as_posix() for path in sorted(_files(directory))]
    lines = [f"{file_digest(directory / name)}  {name}\n" for name in names]
    publish_file(directory / LIST, "".join(lines).encode())


def read_json(model: type[M], path: Path) -> M:
    """A JSON file of an artefact.

    Raises:
        Changed: when it is missing, or not as it was written.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as cause:
        how = cause.strerror if isinstance(cause, OSError) else cause.errors()[0]["msg"]
        raise Changed(
            f"{path} is damaged ({how}): remove {path.parent} and make it again"
        ) from cause


def refuse_changed(directory: Path) -> None:
    """Compare every listed file with its digest. An artefact without a list passes.

    Raises:
        Changed: naming the file, and what to do.
    """
    path = directory / LIST
    if not path.is_file():
        return
    for line in path.read_bytes().splitlines():
        match = _LINE.fullmatch(line.decode("utf-8", errors="replace"))
        if not match:
            raise Changed(f"{path} is damaged: remove {directory} and make it again")
        _refuse_changed_file(directory, match["name"], wanted=match["digest"])


def _refuse_changed_file(directory: Path, name: str, *, wanted: str) -> None:
    path = directory / name
    found = file_digest(path) if path.is_file() else "no file"
    if found != wanted:
        raise Changed(
            f"{path} has changed (found sha256 {found[:12]}, wanted {wanted[:12]}): "
            f"remove {directory} and make it again"
        )


def _files(directory: Path) -> list[Path]:
    return [
        path
        for path in directory.rglob("*")
        if path.is_file()
        and path.suffix not in CHECKED_ELSEWHERE
        and path.name not in (LIST, SPEED_FILE)
        and not any(part.endswith(STORE) for part in path.relative_to(directory).parts)
    ]
