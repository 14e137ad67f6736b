"""Origin: the stores that a store was merged from or cut out of.

An attribute that may be absent: a store that was labelled has none, older readers ignore it.
"""

import re
from dataclasses import dataclass
from typing import Any

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """`stores` are the parents' identities, in order.

    `corpora` are the fingerprints of all corpus files whose posteriors are here, through all
    generations, each once.
    """

    made_by: str
    stores: tuple[str, ...]
    corpora: tuple[str, ...]


def read_origin(value: Any) -> Origin | None:
    """Read the attribute; further keys are for later versions.

    Raises:
        TypeError: when it is not an origin.
    """
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("made_by"), str):
        raise TypeError("origin")
    stores, corpora = _texts(value.get("stores")), _texts(value.get("corpora"))
    if not all(DIGEST.fullmatch(digest) for digest in stores):
        raise TypeError("origin")
    return Origin(made_by=value["made_by"], stores=stores, corpora=corpora)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError("origin")
    return tuple(value)
