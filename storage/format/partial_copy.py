"""PartialCopy: which tiers of which shards a copy of a store holds, in part.json next to HEAD.

    {"arrays": {"ids_0": [[0, 3], [7, 7]], ...}, "format": "essence partial copy",
     "format_version": 1, "kept": 32, "manifest": "<sha256>", "source": "https://..."}

A copy without this file is whole. The manifest does not list the file, which differs from copy to
copy: the digest of a partial copy is that of the whole store. It is written after the objects that
it promises.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from storage.errors import StoreCorrupt, shown
from storage.files.fingerprint import canonical_json
from storage.files.strict_json import parse_json
from storage.format.records import DIGEST

PART = "part.json"
UNFINISHED = "_stage/copy.json"  # the same of a copy that has no HEAD yet: what it will hold
FORMAT_NAME = "essence partial copy"
FORMAT_VERSION = 1
MAX_NUMBER = 1 << 32
_SHARD_OBJECT = re.compile(r"([^/]+)/c/([0-9]{1,10})(/0)?")
_UTTERANCES = "utterances"

Ranges = tuple[tuple[int, int], ...]  # first and last, ascending, apart from each other


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers in as few ranges as possible."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1] + 1:
            result[-1] = result[-1][0], max(result[-1][1], last)
        else:
            result.append((first, last))
    return tuple(result)


def in_words(ranges: Ranges) -> str:
    """0-3,7"""
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialCopy:
    """`arrays`: shards that are here, by array. `source` has the rest, `kept` is K."""

    source: str
    kept: int
    digest: str
    arrays: Mapping[str, Ranges]

    def holds(self, name: str) -> bool:
        """Must this object be here? Metadata always must."""
        found = _SHARD_OBJECT.fullmatch(name)
        if not found or found[1] == _UTTERANCES:
            return True
        return self.has(found[1], int(found[2]))

    def has(self, array: str, shard: int) -> bool:
        """Must this shard of an array be here?"""
        return any(first <= shard <= last for first, last in self.arrays.get(array, ()))

    def and_also(self, other: "PartialCopy") -> "PartialCopy":
        """What is here after both were copied; the rest is at `other.source`."""
        names = sorted({*self.arrays, *other.arrays})
        arrays = {n: joined((*self.arrays.get(n, ()), *other.arrays.get(n, ()))) for n in names}
        return replace(other, arrays=arrays)


def encode_part(part: PartialCopy) -> bytes:
    """The file's bytes."""
    value = {
        "format": FORMAT_NAME,
        "format_version": FORMAT_VERSION,
        "manifest": part.digest,
        "source": part.source,
        "kept": part.kept,
        "arrays": part.arrays,
    }
    return (canonical_json(value) + "\n").encode()


def decode_part(content: bytes, *, where: str) -> PartialCopy:
    """Read the file's bytes, which are not trusted.

    Raises:
        StoreCorrupt: when the bytes are not such a file.
    """
    try:
        value: Any = parse_json(content)
        found = value["format"], value["format_version"]
        if found != (FORMAT_NAME, FORMAT_VERSION):
            raise ValueError(f"format {shown(found)}")
        source, digest, kept = value["source"], value["manifest"], value["kept"]
        if not isinstance(source, str) or not source.isprintable():
            raise ValueError("source")
        if not DIGEST.fullmatch(digest):
            raise ValueError("manifest")
        if type(kept) is not int or not 1 <= kept <= MAX_NUMBER:
            raise ValueError("kept")
        arrays = {str(name): _ranges(pairs) for name, pairs in value["arrays"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
        raise StoreCorrupt(
            f"{where} is not a record of a partial copy ({shown(cause)}): remove this "
            "file, then pull what you need again"
        ) from cause
    return PartialCopy(source=source, digest=digest, kept=kept, arrays=arrays)


def _ranges(pairs: Any) -> Ranges:
    ranges = [(first, last) for first, last in pairs]
    if any(type(n) is not int or not 0 <= n <= MAX_NUMBER for pair in ranges for n in pair):
        raise ValueError("ranges")
    return joined(ranges)
