"""Record: made.json, which states what an artefact is made of."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import Changed
from stages.contract.version import VERSION
from storage.files.fingerprint import SHORT, fingerprint

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


def read_record(directory: Path) -> dict[str, Any]:
    """made.json of an artefact.

    Raises:
        Changed: when it is not as it was written.
    """
    path = directory / RECORD
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        recipe = Recipe(stage=made["stage"], settings=made["settings"], inputs=made["inputs"])
        is_whole = made["fingerprint"] == recipe.fingerprint and isinstance(made["remarks"], dict)
    except (ValueError, KeyError, TypeError) as cause:
        raise Changed(
            f"{path} is damaged ({cause}): remove {directory} and make it again"
        ) from cause
    if not is_whole:
        raise Changed(
            f"{path}: recipe and fingerprint differ: remove {directory} and make it again"
        )
    return dict(made)


def encode_record(recipe: Recipe) -> bytes:
    """The bytes of made.json."""
    made = {
        "program": f"essence {VERSION}",
        "stage": recipe.stage,
        "settings": recipe.settings,
        "inputs": recipe.inputs,
        "remarks": recipe.remarks,
        "fingerprint": recipe.fingerprint,
    }
    return (json.dumps(made, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
