"""What pydantic found wrong with the settings -> one line for the terminal."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

SHOWN_LENGTH = 60  # of a value that a message repeats


@dataclass(frozen=True)
class Sources:
    """Who said a setting: the last --set that touches it, else the file."""

    path: Path
    changes: Sequence[str]

    def of(self, place: str) -> str:
        for change in reversed(self.changes):
            key = change.partition("=")[0].strip()
            if f"{place}.".startswith(f"{key}.") or f"{key}.".startswith(f"{place}."):
                return "--set"
        return str(self.path)


def in_words(
    error: ValidationError,
    said_by: Sources,
    *,
    model: type[BaseModel],
    below: tuple[int | str, ...] = (),
) -> str:
    """The first finding, in one line: where, what was found, what was wanted."""
    finding = error.errors()[0]
    place = ".".join(str(part) for part in (*below, *finding["loc"]))
    source = said_by.of(place)
    if finding["type"] == "extra_forbidden":
        return f"{source}: {place} is not a setting: {_hint(finding['loc'], model)}"
    wanted = str(finding["msg"]).removeprefix("Value error, ")
    found = finding["input"]
    found_text = "" if isinstance(found, dict | list | BaseModel) else f", found {short(found)}"
    return f"{source}: {place or 'settings'}: {wanted[0].lower()}{wanted[1:]}{found_text}"


def short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


def _hint(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """What may be meant by an unknown key: by walking the models below `model` to where it is."""
    *parents, name = map(str, location)
    for part in parents:
        field = model.model_fields.get(part)
        model = _model_in(field.annotation, otherwise=model) if field else model
    known = sorted(model.model_fields)
    deeper = [
        f"{branch}.{name}"
        for branch in known
        if name
        in _model_in(model.model_fields[branch].annotation, otherwise=BaseModel).model_fields
    ]
    near = deeper or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(known)}"


def _model_in(annotation: Any, *, otherwise: type[BaseModel]) -> type[BaseModel]:
    """The model in `Model`, `tuple[Model, ...]` or `Model | None`."""
    for inner in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return otherwise
