"""Plain values: what a settings file may hold, checked before any class of settings reads it."""

import math
from collections.abc import Iterator
from typing import Any

from pipeline.settings.wording import shortened

MAX_VALUES = 10_000  # of one tree, each as often as an alias repeats it
MAX_DEPTH = 32
INTEGER_BITS = 63
CONTROL_CHARACTERS = frozenset(map(chr, (*range(32), 127))) - set("\t\n\r")


def oddities(tree: Any) -> Iterator[tuple[str, str]]:
    """Each value that is not plain: its dotted key, and what is wrong with it.

    Plain are text without control characters, integers of 64 bits, other numbers, true, false,
    null, and lists and mappings of these. A YAML alias counts as often as it is used, so that a few
    lines cannot stand for a million values, and a value that contains itself is too deep.
    """
    pending: list[tuple[str, Any, int]] = [("", tree, 0)]
    for count, (place, value, depth) in enumerate(_walk(pending)):
        if count >= MAX_VALUES:
            yield "", f"more than {MAX_VALUES:,} values: are aliases repeated?"
            return
        if depth > MAX_DEPTH:
            top = ".".join(place.split(".")[:4])
            yield top, f"nested deeper than {MAX_DEPTH} levels: does an alias contain itself?"
            return
        wrong = _wrong_with(value)
        if wrong:
            yield place, wrong


def _walk(pending: list[tuple[str, Any, int]]) -> Iterator[tuple[str, Any, int]]:
    """The values of a tree, depth first; only those of one path and their siblings are held."""
    while pending:
        place, value, depth = pending.pop()
        yield place, value, depth
        inner: list[tuple[Any, Any]] = []
        if isinstance(value, dict):
            inner = list(value.items())
        elif isinstance(value, list):
            inner = list(enumerate(value))
        for key, child in reversed(inner):
            pending.append((f"{place}.{key}" if place else str(key), child, depth + 1))


def _wrong_with(value: Any) -> str | None:
    if isinstance(value, str):
        return _wrong_with_text(value)
    if isinstance(value, dict):
        keys = (_wrong_with_key(key) for key in value)
        return next((wrong for wrong in keys if wrong), None)
    if isinstance(value, int):
        return "wanted an integer of 64 bits" if value.bit_length() > INTEGER_BITS else None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"wanted a finite number, found {value}"
    if value is None or isinstance(value, list):
        return None
    kind = type(value).__name__
    return f"found {kind}, wanted text, a number, true, false or null: put it in quotes"


def _wrong_with_key(key: Any) -> str | None:
    if not isinstance(key, str):
        return f"found the key {shortened(key)}, wanted text: put it in quotes"
    return _wrong_with_text(key)


def _wrong_with_text(text: str) -> str | None:
    odd = CONTROL_CHARACTERS.intersection(text)
    odd |= {letter for letter in text if "\ud800" <= letter <= "\udfff"}
    if odd:
        return f"{shortened(text)} holds the character {min(odd)!r}, which is not text: remove it"
    return None
