"""What pydantic found wrong with the settings -> one line for the terminal."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

SHOWN_LENGTH = 60  # of a value that a message repeats


Location = tuple[int | str, ...]


@dataclass(frozen=True)
class Sources:
    """Where a setting was given: the last --set that touches it, otherwise the file."""

    path: Path
    changes: Sequence[str]

    def of(self, place: str) -> str:
        """The source of the setting at `place`, a dotted name."""
        for change in reversed(self.changes):
            key = change.partition("=")[0].strip()
            if f"{place}.".startswith(f"{key}.") or f"{key}.".startswith(f"{place}."):
                return "--set"
        return str(self.path)


def in_words(
    error: ValidationError,
    sources: Sources,
    *,
    model: type[BaseModel],
    below: Location = (),
) -> str:
    """The first finding, in one line: where, what was found, what was wanted."""
    finding = error.errors()[0]
    parts, owner = _walk(finding["loc"], model)
    place = ".".join(map(str, (*below, *parts)))
    source = sources.of(place)
    if finding["type"] == "extra_forbidden":
        return f"{source}: {place} is not a setting: {_hint(str(parts[-1]), owner)}"
    if finding["type"] == "union_tag_not_found":
        return f"{source}: {place} has no {finding['ctx']['discriminator']}: give one"
    wanted = str(finding["msg"]).removeprefix("Value error, ")
    found = finding["input"]
    found_text = "" if isinstance(found, dict | list | BaseModel) else f", found {short(found)}"
    return f"{source}: {place or 'settings'}: {wanted[0].lower()}{wanted[1:]}{found_text}"


def short(value: object) -> str:
    """The value as Python writes it, cut at SHOWN_LENGTH."""
    text = repr(value)
    return text if len(text) <= SHOWN_LENGTH else f"{text[:SHOWN_LENGTH]}..."


def _walk(location: Location, model: type[BaseModel]) -> tuple[Location, type[BaseModel]]:
    """The location as a settings file has it, and the model that its last part belongs to.

    pydantic puts the tag of a union's model (its `kind`) after the place in the list: the file has
    no such level.
    """
    models, owner = [model], model
    parts: list[int | str] = []
    for part in location:
        if len(models) > 1 and (tagged := [each for each in models if _has_tag(each, part)]):
            models = tagged
            continue
        parts.append(part)
        owner = models[0]
        field = owner.model_fields.get(str(part))
        models = (field and _models_in(field.annotation)) or models
    return tuple(parts), owner


def _has_tag(model: type[BaseModel], tag: int | str) -> bool:
    kind = model.model_fields.get("kind")
    return kind is not None and tag in get_args(kind.annotation)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    """The models in `Model`, `tuple[Model, ...]`, `Model | None`, or a union of models."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]


def _hint(name: str, model: type[BaseModel]) -> str:
    """What may be meant by a key that the model does not have: a near one, or one further down."""
    known = sorted(model.model_fields)
    deeper = [
        f"{branch}.{name}"
        for branch in known
        if any(
            name in below.model_fields
            for below in _models_in(model.model_fields[branch].annotation)
        )
    ]
    near = deeper or difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(known)}"
