"""PartialCopy: which tiers of which shards a copy of a store holds, in part.json beside HEAD.

    {"arrays": {"ids_0": [[0, 3], [7, 7]], ...}, "format": "essence partial copy",
     "format_version": 1, "kept": 32, "manifest": "<sha256>", "source": "https://..."}

A copy without this file is whole. The file is of this copy only: the manifest does not list it,
and the store's identity is that of the whole. It is written after the objects that it promises.
"""

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from storage.errors import StoreCorrupt, StorePartial, shown
from storage.files.fingerprint import canonical_json
from storage.files.object_file import is_there, read_whole
from storage.files.strict_json import parse_json

T = TypeVar("T")

PART = "part.json"
UNFINISHED = "_stage/copy.json"  # the same of a copy that has no HEAD yet: what it will hold
FORMAT_NAME = "essence partial copy"
FORMAT_VERSION = 1
MAX_NUMBER = 1 << 32
_SHARD_OBJECT = re.compile(r"([^/]+)/c/([0-9]{1,10})(/0)?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_UTTERANCES = "utterances"

Ranges = tuple[tuple[int, int], ...]  # first and last, ascending, apart from each other


def joined(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """The same numbers in as few ranges as can be."""
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
    """`arrays`: shards that are here, by array. `source` is where the rest is, `kept` is K."""

    source: str
    kept: int
    digest: str
    arrays: Mapping[str, Ranges]

    def holds(self, name: str) -> bool:
        """Is this object to be here? Metadata always are."""
        found = _SHARD_OBJECT.fullmatch(name)
        if not found or found[1] == _UTTERANCES:
            return True
        return self.has(found[1], int(found[2]))

    def has(self, array: str, shard: int) -> bool:
        """Is this shard of an array to be here?"""
        return any(first <= shard <= last for first, last in self.arrays.get(array, ()))

    def and_also(self, other: "PartialCopy") -> "PartialCopy":
        """What is here after both; the rest is where `other` says."""
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
    """The file again. It may be a stranger's.

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
        if not _DIGEST.fullmatch(digest):
            raise ValueError("manifest")
        if type(kept) is not int or not 1 <= kept <= MAX_NUMBER:
            raise ValueError("kept")
        arrays = {str(name): _ranges(pairs) for name, pairs in value["arrays"].items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
        raise StoreCorrupt(
            f"{where} does not say what is here ({shown(cause)}): remove this "
            "file, then pull what you need again"
        ) from cause
    return PartialCopy(source=source, digest=digest, kept=kept, arrays=arrays)


def _ranges(pairs: Any) -> Ranges:
    ranges = [(first, last) for first, last in pairs]
    if any(type(n) is not int or not 0 <= n <= MAX_NUMBER for pair in ranges for n in pair):
        raise ValueError("ranges")
    return joined(ranges)


def read_part(root: Path, name: str = PART) -> PartialCopy | None:
    """What a copy on disk holds; None where it is whole.

    Raises:
        StoreCorrupt: when the record is damaged.
    """
    if not is_there(root, name):
        return None
    return decode_part(read_whole(root, name), where=str(root / name))


def only_here(root: Path, records: Mapping[str, T]) -> dict[str, T]:
    """Those of a store's objects that this copy is to have, and those that it has besides.

    An addition that was killed has brought objects that part.json does not promise yet.
    """
    part = read_part(root)
    return {
        name: record
        for name, record in records.items()
        if part is None or part.holds(name) or is_there(root, name)
    }


def refuse_left_out(
    root: Path, part: PartialCopy, arrays: Iterable[str], *, shards: Iterable[int], k: int
) -> None:
    """Make sure that a partial copy has what a reader of k ranks opens of these shards.

    Raises:
        StorePartial: with the command that brings it.
    """
    names, missing = list(arrays), set[int]()
    for shard in set(shards):
        if not all(part.has(name, shard) for name in names):
            missing.add(shard)
    if not missing:
        return
    held = joined(pair for ranges in part.arrays.values() for pair in ranges)
    absent = joined((shard, shard) for shard in missing)
    all_here = joined((*held, *absent)) == held  # these shards are here, less deep
    chosen = held if all_here else absent
    raise StorePartial(
        f"{root} is a partial copy, without k={k} of shards {in_words(absent)}: run "
        f"'essence cache pull --k {k} --shards {in_words(chosen)} {shlex.quote(part.source)} "
        f"{shlex.quote(str(root))}' to add that, or without options to add all that was left out"
    )
