"""Record: made.json, which states what an artefact is and which files belong to it.

    stage, settings, inputs, fingerprint    the recipe, and its SHA-256
    program, remarks                        for readers
    files                                   digests of the files (contents.py)
    digest                                  SHA-256 of all the rest

The last two are missing in artefacts of earlier versions: those are checked by what they have.
"""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import Changed
from stages.contract.version import VERSION
from storage.files.fingerprint import SHORT, fingerprint
from storage.files.regular_file import open_regular

RECORD = "made.json"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What an artefact is made of. `shown_as` and `remarks` are for display and do not count."""

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, str] = field(default_factory=dict)
    shown_as: str = ""
    remarks: dict[str, str] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """The same recipe gives the same 64 hex digits."""
        return fingerprint({"stage": self.stage, "settings": self.settings, "inputs": self.inputs})

    @property
    def name(self) -> str:
        """Name of the artefact's directory."""
        return f"{self.stage}-{self.fingerprint[:SHORT]}"


class DataFile(BaseModel):
    """A file whose content its own reader checks, or a store.

    `digest` is the corpus file's fingerprint, the store's digest, or the SHA-256 of weights;
    `num_bytes` is None for a store.
    """

    digest: str
    num_bytes: int | None = None


class Files(BaseModel):
    """What belongs to an artefact: `listed` is the SHA-256 of files.sha256."""

    listed: str
    data: dict[str, DataFile]


class Record(BaseModel):
    """The content of made.json. Keys that a later version adds are ignored."""

    model_config = ConfigDict(extra="ignore")

    stage: str
    settings: dict[str, Any]
    inputs: dict[str, str]
    fingerprint: str
    remarks: dict[str, str]
    program: str = ""
    files: Files | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe that it records."""
        return Recipe(
            stage=self.stage, settings=self.settings, inputs=self.inputs, remarks=self.remarks
        )


def encode_record(recipe: Recipe, files: Files) -> bytes:
    """The bytes of made.json."""
    made = {
        "program": f"essence {VERSION}",
        "stage": recipe.stage,
        "settings": recipe.settings,
        "inputs": recipe.inputs,
        "remarks": recipe.remarks,
        "fingerprint": recipe.fingerprint,
        "files": files.model_dump(),
    }
    made["digest"] = fingerprint(made)
    return (json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def read_record(directory: Path) -> Record:
    """made.json of an artefact.

    Raises:
        Changed: when it is missing, or is not as it was written.
    """
    path = directory / RECORD
    remedy = f"remove {directory} and make it again"
    try:
        with open_regular(path) as file:
            made = json.load(file)
        digest = made.pop("digest", None)
        record = Record.model_validate(made)
        is_whole = record.fingerprint == record.recipe.fingerprint
        is_whole = is_whole and digest in (None, fingerprint(made))
    except OSError as cause:
        raise Changed(f"{path} cannot be read ({cause.strerror}): {remedy}") from cause
    except ValidationError as cause:
        first = cause.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise Changed(f"{path} is damaged ({place}: {first['msg']}): {remedy}") from cause
    except (ValueError, AttributeError, TypeError, RecursionError) as cause:
        raise Changed(f"{path} is damaged ({cause}): {remedy}") from cause
    if not is_whole:
        raise Changed(f"{path}: content and digest differ: {remedy}")
    return record


def refuse_other_name(directory: Path, record: Record, *, wanted: str | None = None) -> None:
    """Make sure that a directory holds the artefact that its name states, or `wanted`.

    `wanted` is a recipe's fingerprint.

    Raises:
        Changed: naming both.
    """
    if record.recipe.name == directory.name and wanted in (None, record.fingerprint):
        return
    raise Changed(
        f"{directory} holds {record.recipe.name}, not what its name states: was it exchanged or "
        "renamed? Move it back, or remove it and make it again"
    )
