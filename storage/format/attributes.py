"""The attributes of a store's group: what made it, the sizes, and the format first.

What is read is not trusted.
"""

import math
from dataclasses import asdict, fields
from typing import Any

from storage.errors import StoreError, shown
from storage.format import value_code
from storage.format.codec import CODINGS, FORMAT_1
from storage.format.layout import FORMAT_NAME, FORMAT_VERSIONS, StoreAbout
from storage.format.origin import read_origin
from storage.format.pruning import read_pruning


def to_attributes(about: StoreAbout, *, num_shards: int, lengths: list[int]) -> dict[str, Any]:
    """The group's attributes: the format first, then what a reader of any program needs."""
    made = asdict(about)
    del made["coding"]
    if about.origin is None:
        del made["origin"]
    return {
        "format": FORMAT_NAME,
        "format_version": about.coding.format_version,
        "num_utterances": len(lengths),
        "num_frames": sum(lengths),
        "num_shards": num_shards,
        "tiers": [[tier.first, tier.last] for tier in about.tiers],
        "value_code": value_code.NAME,
        "pruning": made.pop("pruning"),
        **made,
    }


def from_attributes(attributes: dict[str, Any], *, where: str) -> StoreAbout:
    """Read the group's attributes, which are not trusted.

    The codecs of format 2 are in the metadata of the arrays: here they are those of lz4.

    Raises:
        StoreError: when the format is another or newer one, or a value is missing or odd.
    """
    found = (attributes.get("format"), attributes.get("format_version"))
    if not is_known_format(*found):
        raise StoreError(
            f"{where}: found format {shown(found[0])} version {shown(found[1])}, wanted "
            f"{FORMAT_NAME!r} version {' or '.join(map(str, FORMAT_VERSIONS))}: use the program "
            "that wrote it, or label the corpus again"
        )
    code, pruning = attributes.get("value_code"), attributes.get("pruning")
    is_format_1 = found[1] == FORMAT_1.format_version
    if code != value_code.NAME or (is_format_1 and pruning is not None):
        raise StoreError(
            f"{where}: value code {shown(code)} with pruning {shown(pruning)} is not supported, "
            f"wanted {value_code.NAME!r}, in format 1 without pruning: use a newer version of the "
            "program"
        )
    try:
        known = {name: _typed(name, attributes) for name in _FIELD_TYPES}
        known["origin"] = read_origin(attributes.get("origin"))
        known["pruning"] = read_pruning(attributes["pruning"])
        about = StoreAbout(**known, coding=FORMAT_1 if is_format_1 else CODINGS["lz4"])
    except StoreError as cause:
        raise StoreError(f"{where}: {cause}") from cause
    except (KeyError, TypeError, ValueError, OverflowError) as cause:
        raise StoreError(f"{where}: attribute {cause} is missing or not of its type") from cause
    if attributes.get("tiers") != [[tier.first, tier.last] for tier in about.tiers]:
        raise StoreError(f"{where}: tiers {shown(attributes.get('tiers'))} do not follow from kept")
    if len(about.weights) != len(about.members):
        raise StoreError(f"{where}: {len(about.weights)} weights for {len(about.members)} members")
    return about


def is_known_format(name: Any, version: Any) -> bool:
    """Is this a format of stores that is read here?"""
    return name == FORMAT_NAME and type(version) is int and version in FORMAT_VERSIONS


_FIELD_TYPES: dict[str, Any] = {
    field.name: field.type
    for field in fields(StoreAbout)
    if field.name not in ("origin", "coding", "pruning")
}


def _typed(name: str, attributes: dict[str, Any]) -> Any:
    """An attribute, converted to the type of its field.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: naming it, when that is not possible.
    """
    value, kind = attributes[name], _FIELD_TYPES[name]
    if kind in (tuple[str, ...], tuple[float, ...]):
        if not isinstance(value, list):
            raise TypeError(name)
        inner = str if kind == tuple[str, ...] else float
        return tuple(_single(name, item, inner) for item in value)
    return _single(name, value, kind)


def _single(name: str, value: Any, kind: Any) -> Any:
    """A text, a whole number, or any finite number: 2 and 2.0 are the same in JSON."""
    if not isinstance(value, (int, float) if kind is float else kind) or isinstance(value, bool):
        raise TypeError(name)
    if kind is not float:
        return value
    if not math.isfinite(value):
        raise ValueError(name)
    return float(value)
