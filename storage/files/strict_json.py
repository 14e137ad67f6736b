"""Strict JSON: an untrusted file that every program reads alike, or an error.

Python's own reader accepts a key twice and keeps the last one, accepts NaN, guesses UTF-16, and
passes halves of surrogate pairs on. Another program may read another value, so another store.
"""

import json
from typing import Any

SURROGATE = b"\\ud"  # how the halves of a pair are escaped


def parse_json(content: bytes) -> Any:
    """The value of a JSON file in UTF-8.

    Raises:
        ValueError: when it is no JSON, or has a key twice, NaN, infinity, or half a character.
        RecursionError: when it is nested too deep.
    """
    value = json.loads(
        content.decode(), object_pairs_hook=_refuse_twice, parse_constant=_refuse_constant
    )
    if SURROGATE in content.lower():
        json.dumps(value, ensure_ascii=False).encode()  # half a character has no UTF-8
    return value


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key comes twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
