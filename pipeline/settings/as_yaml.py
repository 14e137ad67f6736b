"""PipelineSettings -> YAML that can be used as a settings file."""

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import yaml

from pipeline.settings.tree import PipelineSettings
from storage.place.address import without_secrets

INDENT = "  "


def as_yaml(settings: PipelineSettings, *, origin: Callable[[str], str] | None = None) -> str:
    """Every setting with its value; after it, as a comment, the `origin` of its dotted key.

    Passwords in URLs are masked.
    """
    rows = list(_rows(settings.model_dump(mode="json"), place=""))
    if origin is None:
        return "\n".join(text for text, _ in rows)
    width = max(len(text) for text, place in rows if place and len(text) <= 60)
    return "\n".join(
        f"{text:{width}}  # {origin(place)}" if place else text for text, place in rows
    )


def _rows(tree: dict[str, Any], *, place: str) -> Iterator[tuple[str, str]]:
    """Each line, and the dotted key of its value; none for a line that begins a branch."""
    for key, value in tree.items():
        here = f"{place}.{key}" if place else key
        name = _as_text(key)
        if isinstance(value, dict) and value:
            yield f"{name}:", ""
            yield from _indented(_rows(value, place=here))
        elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
            yield f"{name}:", ""
            for number, item in enumerate(value):
                yield from _indented(_item(item, place=f"{here}.{number}"))
        else:
            yield f"{name}: {_as_text(value)}", here


def _item(item: Any, *, place: str) -> Iterator[tuple[str, str]]:
    if not isinstance(item, dict) or not item:
        yield f"- {_as_text(item)}", place
        return
    for number, (text, below) in enumerate(_rows(item, place=place)):
        yield f"{'- ' if number == 0 else INDENT}{text}", below


def _indented(rows: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for text, place in rows:
        yield f"{INDENT}{text}", place


def _as_text(value: Any) -> str:
    """One line of YAML. PyYAML writes numbers so that it reads them as numbers again."""
    if isinstance(value, str):
        value = without_secrets(value)
        if "\n" in value or "\r" in value:
            return json.dumps(value)
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=math.inf)
    return text.removesuffix("...\n").strip()
