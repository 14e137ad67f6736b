"""Tables of utterances: which part of which audio file, by which speaker, of which words.

    id<TAB>path<TAB>start<TAB>end<TAB>speaker<TAB>split<TAB>text     .tsv: a head, then the lines
    {"id": ..., "path": ..., "speaker": ..., "text": ...}            .jsonl: the same keys

`path` alone is needed; a relative one begins at the table's folder. Times are in seconds, `channel`
counts from 0, `duration` is that of the whole file, in seconds, and compared with it. Other columns
are passed over. Without a speaker an utterance is of the speaker of its file.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from stages.acoustic.sound.part import Part
from stages.contract.errors import BadInput
from stages.contract.settings import Settings

TSV, JSON_LINES = (".tsv",), (".jsonl", ".ndjson")


class Columns(Settings):
    """Names of the columns in a table."""

    id: str = "id"
    path: str = "path"
    start: str = "start"
    end: str = "end"
    channel: str = "channel"
    duration: str = "duration"
    speaker: str = "speaker"
    split: str = "split"
    text: str = "text"


DEFAULT_COLUMNS = Columns()


class SpeechRow(Settings):
    """One utterance: where its audio is, and what is stated of it.

    `row` is the position in `path` if that is a folder of a dataset that contains the audio.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: str = Field(min_length=1)
    path: Path
    row: int | None = None
    start: float = Field(0.0, ge=0.0)
    end: float | None = None
    channel: int | None = Field(None, ge=0)
    duration: float | None = Field(None, ge=0.0)
    speaker: str = Field(min_length=1)
    split: str | None = None
    text: str | None = None

    @property
    def part(self) -> Part:
        """What is read of the file."""
        return Part(start=self.start, end=self.end, channel=self.channel, duration=self.duration)

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
    refuse_twice(rows)
    return rows


def refuse_twice(rows: Iterable[SpeechRow]) -> None:
    """Check that no two utterances have the same id.

    Raises:
        BadInput: naming the id.
    """
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise BadInput(f"two utterances have the id {row.id!r}: give each its own")
        seen.add(row.id)


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.suffix.lower() in TSV + JSON_LINES


def read_table_of_speech(
    path: Path, columns: Columns = DEFAULT_COLUMNS, *, folder: Path | None = None
) -> list[SpeechRow]:
    """The utterances of a table. Relative paths begin at `folder`, or at that of the table.

    Raises:
        BadInput: naming the line.
    """
    is_tsv = path.suffix.lower() in TSV
    lines = _tsv(path, columns) if is_tsv else _json_lines(path)
    return list(_checked(path, lines, columns, folder or path.parent))


def _read_one(path: Path) -> list[SpeechRow]:
    if is_table(path):
        return read_table_of_speech(path)
    return [SpeechRow(id=readable(path), path=path, speaker=readable(path))]


def readable(path: Path) -> str:
    """The path as text that can be written as UTF-8, whatever bytes the name has."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _tsv(path: Path, columns: Columns) -> Iterator[tuple[int, dict[str, object]]]:
    # Not splitlines: a text may hold U+2028 and other characters that end a line for it.
    head, *lines = (line.rstrip("\r").split("\t") for line in _text(path).split("\n"))
    if columns.path not in head:
        raise BadInput(
            f"{path}:1: no column {columns.path!r}: wanted a head such as 'id, path, speaker'"
        )
    for number, fields in enumerate(lines, start=2):
        if len(fields) > len(head):
            raise BadInput(f"{path}:{number}: more fields than the head has")
        if fields != [""]:
            pairs = zip(head, fields, strict=False)  # empty fields at the end may be left out
            yield number, {name: value for name, value in pairs if value}


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except ValueError as cause:
            raise BadInput(f"{path}:{number}: no JSON ({cause})") from cause
        if not isinstance(found, dict):
            raise BadInput(f"{path}:{number}: wanted an object with a path")
        yield number, {name: value for name, value in found.items() if value not in ("", None)}


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise BadInput(f"{path} cannot be read ({cause}): wanted a table of utterances") from cause


def _checked(
    path: Path, rows: Iterable[tuple[int, dict[str, object]]], columns: Columns, folder: Path
) -> Iterator[SpeechRow]:
    names = {ours: getattr(columns, ours) for ours in Columns.model_fields}
    for number, found in rows:
        values = {ours: found[theirs] for ours, theirs in names.items() if theirs in found}
        where = str(values.get("path", ""))
        if not where:
            raise BadInput(f"{path}:{number}: no path")
        values = {"id": where, "speaker": where, **values, "path": folder / where}
        try:
            yield SpeechRow.model_validate(values)
        except ValidationError as cause:
            raise BadInput(f"{path}:{number}: {first_error(cause)}") from cause


def first_error(cause: ValidationError) -> str:
    """The first of the errors in a row, in one line."""
    first = cause.errors()[0]
    name = ".".join(map(str, first["loc"]))
    return f"{name}: {first['msg']}".removeprefix(": ")
