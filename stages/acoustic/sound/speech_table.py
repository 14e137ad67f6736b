"""Speech to transcribe: audio files, or a table of utterances with speakers and times.

    id<TAB>path<TAB>speaker<TAB>start<TAB>end        .tsv: a head, then a line for each utterance
    {"id": ..., "path": ..., "speaker": ...}         .jsonl: the same keys

`path` alone is needed; a relative one begins at the table's folder. Times are in seconds. Other
columns are passed over. Without a speaker an utterance is of the speaker of its file.
"""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from stages.contract.errors import BadInput
from stages.contract.settings import Settings

TSV, JSON_LINES = (".tsv",), (".jsonl", ".ndjson")


class SpeechRow(Settings):
    """One utterance to transcribe."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(min_length=1)
    path: Path
    speaker: str = Field(min_length=1)
    start: float = Field(0.0, ge=0.0)
    end: float | None = None

    @model_validator(mode="after")
    def _times_are_in_order(self) -> Self:
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"end {self.end:g} is not after start {self.start:g}")
        return self


def read_speech(paths: Sequence[Path]) -> list[SpeechRow]:
    """The utterances of audio files and tables, in their order.

    Raises:
        BadInput: naming file and line, or an id that occurs twice.
    """
    rows = [row for path in paths for row in _read_one(path)]
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise BadInput(f"two utterances have the id {row.id!r}: give each its own")
        seen.add(row.id)
    return rows


def _read_one(path: Path) -> Iterator[SpeechRow]:
    if path.suffix.lower() in TSV:
        yield from _checked(path, _tsv(path))
    elif path.suffix.lower() in JSON_LINES:
        yield from _checked(path, _json_lines(path))
    else:
        yield SpeechRow(id=readable(path), path=path, speaker=readable(path))


def readable(path: Path) -> str:
    """The path as text that can be written as UTF-8, whatever bytes the name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _tsv(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    lines = _text(path).splitlines()
    table = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    if "path" not in (table.fieldnames or ()):
        raise BadInput(f"{path}:1: no column 'path': wanted a head such as 'id, path, speaker'")
    for number, row in enumerate(table, start=2):
        if None in row:
            raise BadInput(f"{path}:{number}: more fields than the head has")
        yield number, {name: value for name, value in row.items() if value not in ("", None)}


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as cause:
            raise BadInput(f"{path}:{number}: no JSON ({cause})") from cause
        if not isinstance(found, dict):
            raise BadInput(f"{path}:{number}: wanted an object with a path")
        yield number, found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as cause:
        raise BadInput(f"{path} cannot be read ({cause}): wanted a table of utterances") from cause


def _checked(path: Path, rows: Iterable[tuple[int, dict[str, object]]]) -> Iterator[SpeechRow]:
    for number, found in rows:
        where = str(found.get("path", ""))
        filled = {"id": where, "speaker": where, **found, "path": path.parent / where}
        try:
            if not where:
                raise BadInput(f"{path}:{number}: no path")
            yield SpeechRow.model_validate(filled)
        except ValidationError as cause:
            first = cause.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise BadInput(
                f"{path}:{number}: {name}: {first['msg']}".replace(": :", ":")
            ) from cause
