"""Wording: what pydantic finds wrong with settings, in one line for the user."""

import difflib
from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from storage.place.address import without_secrets

SHOWN_LENGTH = 60  # characters of a value that a message repeats
Location = tuple[int | str, ...]


def in_one_line(
    error: ValidationError,
    *,
    model: type[BaseModel],
    given_by: Callable[[str], str],
    below: Location = (),
) -> str:
    """The first finding: where it was given, the key, what was wanted and what was found.

    `model` was validated; it lies `below` in the settings. `given_by` maps a dotted key to the file
    or option that set it.
    """
    finding = error.errors()[0]
    parts, owner = _walk(finding["loc"], model)
    keys = [str(part) for part in (*below, *parts)]
    place = ".".join(keys)
    source = given_by(place)
    if finding["type"] == "extra_forbidden":
        return f"{source}: {place} is not a setting: {_hint(keys, owner)}"
    if finding["type"] == "union_tag_not_found":
        return f"{source}: {place} has no {finding['ctx']['discriminator']}: give one"
    wanted = str(finding["msg"]).removeprefix("Value error, ")
    found = finding["input"]
    found_text = "" if isinstance(found, dict | list | BaseModel) else f", found {shortened(found)}"
    return f"{source}: {place or 'settings'}: {wanted[0].lower()}{wanted[1:]}{found_text}"


def touches(key: str, place: str) -> bool:
    """Is one dotted key the other, or a part of it?"""
    return f"{place}.".startswith(f"{key}.") or f"{key}.".startswith(f"{place}.")


def shortened(value: object) -> str:
    """The value as Python writes it, cut at SHOWN_LENGTH."""
    text = without_secrets(repr(value))  # before it is cut: half a URL is not recognised
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


def _hint(keys: list[str], model: type[BaseModel]) -> str:
    """The keys that an unknown one may stand for.

    In this order: the same name one level down, a similar name here, a similar name one level down.
    """
    *parents, name = keys
    known = sorted(model.model_fields)
    below: dict[str, dict[str, None]] = {}  # keys in their order; models of a union share some
    for branch in known:
        for inner in _models_in(model.model_fields[branch].annotation):
            for field in inner.model_fields:
                below.setdefault(field, {})[f"{branch}.{field}"] = None
    similar = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    further = difflib.get_close_matches(name, below, n=1, cutoff=0.8)
    near = [*below.get(name, ())] or similar or [key for each in further for key in below[each]]
    if not near:
        return f"known: {', '.join(known)}"
    return f"did you mean {' or '.join(repr('.'.join([*parents, key])) for key in near)}?"
