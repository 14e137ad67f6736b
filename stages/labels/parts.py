"""Parts: finished paths of some utterances, kept on the disk until all are there.

    parts/000007.npz      classes   int32: the paths, one after the other
                          about     UTF-8 bytes of JSON: the plan; of each utterance its index,
                                    how its path was made, why there is none, number of frames

A part is written atomically. A resumed run reads the parts of its own plan and makes the others.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.contract.ensemble_labels import Made
from storage.files.fingerprint import canonical_json
from storage.files.publish import publish_file

FOLDER = "parts"
NO_PATH = np.empty(0, np.int32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """The path of the utterance at `index`; NO_PATH and `why`, if there is none."""

    index: int
    made: Made
    why: str
    classes_T: NDArray[np.int32]


def write_part(directory: Path, number: int, found: Sequence[Labelled], *, plan: str) -> None:
    """Keep a finished part of the plan with this fingerprint."""
    rows = [[each.index, each.made, each.why, len(each.classes_T)] for each in found]
    about = canonical_json({"plan": plan, "utterances": rows}).encode()
    content = BytesIO()
    np.savez(
        content,
        classes=np.concatenate([NO_PATH, *(each.classes_T for each in found)]),
        about=np.frombuffer(about, np.uint8),
    )
    (directory / FOLDER).mkdir(exist_ok=True)
    publish_file(_path(directory, number), content.getvalue())


def read_part(directory: Path, number: int, *, plan: str) -> list[Labelled] | None:
    """A finished part; None if it is missing, damaged, or of another plan."""
    try:
        content = BytesIO(_path(directory, number).read_bytes())
        with np.load(content, allow_pickle=False) as part:
            classes, about = part["classes"], json.loads(part["about"].tobytes())
        if about["plan"] != plan:
            return None
        return _split(classes, about["utterances"])
    except Exception:  # noqa: BLE001  zipfile and numpy raise a dozen kinds: it is made again
        return None


def _split(classes: NDArray[np.int32], rows: Sequence[tuple[int, Any, str, int]]) -> list[Labelled]:
    bounds = np.cumsum([0, *(row[3] for row in rows)]).tolist()
    assert bounds[-1] == len(classes)
    return [
        Labelled(index=index, made=made, why=why, classes_T=classes[start : start + length])
        for (index, made, why, length), start in zip(rows, bounds, strict=False)
    ]


def _path(directory: Path, number: int) -> Path:
    return directory / FOLDER / f"{number:06d}.npz"
