"""Verify: every object of a store against what it must be."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.errors import StoreCorrupt, StoreError
from storage.manifest import HEAD, STAGE, ObjectRecord, Records, manifest_name
from storage.object_file import opened, patiently

NAMED = 10  # problems that a message spells out
READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Problem:
    """An object, and what is wrong with it."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Subset:
    """The `number`th of `parts` parts, counted from 1. All parts together are the whole store."""

    number: int
    parts: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.parts:
            raise StoreError(
                f"found subset {self.number}/{self.parts}, wanted n/t with 1 <= n <= t"
            )

    def choose(self, names: Iterable[str]) -> list[str]:
        """Every `parts`th name of the sorted ones."""
        return sorted(names)[self.number - 1 :: self.parts]


EVERYTHING = Subset(1, 1)


def check_objects(
    root: Path, records: Records, *, data: bool, subset: Subset = EVERYTHING
) -> Iterator[tuple[int, Problem | None]]:
    """(bytes, what is wrong) of one object after the other: sizes, and with `data` all bytes.

    Raises:
        StoreUnreachable: when the system does not let us read.
    """
    for name in subset.choose(records):
        yield records[name].num_bytes, _problem(root, name, records[name], data=data)


def strangers(root: Path, records: Records, *, digest: str) -> list[Problem]:
    """What lies in the store and does not belong there."""
    known = {*records, HEAD, manifest_name(digest)} if digest else {*records}
    names = sorted(_files(root) - known)
    return [Problem(name, f"{name} is not in the manifest") for name in names]


def verify_objects(
    root: Path, records: Records, *, digest: str, data: bool, subset: Subset = EVERYTHING
) -> None:
    """Check all objects; nothing else may be there.

    Raises:
        StoreCorrupt: naming what is wrong.
    """
    found = [problem for _, problem in check_objects(root, records, data=data, subset=subset)]
    refuse_problems(root, [*filter(None, found), *strangers(root, records, digest=digest)])


def refuse_problems(root: Path, problems: list[Problem]) -> None:
    """Raise StoreCorrupt where there are any, with the first of them."""
    if problems:
        more = f" and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        named = "; ".join(problem.text for problem in problems[:NAMED])
        raise StoreCorrupt(
            f"{root}: {named}{more}: copy the store again, or run 'essence cache repair {root}'"
        )


def _problem(root: Path, name: str, record: ObjectRecord, *, data: bool) -> Problem | None:
    path = root / name

    def look() -> str | None:
        with opened(root, name) as (handle, found):
            if found != record.num_bytes:
                return f"{path} has {found} bytes, written were {record.num_bytes}"
            if data and _digest(handle) != record.sha256:
                return f"{path}: its sha256 differs from the manifest's"
        return None

    try:
        text = patiently(look, where=str(path))
    except StoreCorrupt as error:
        text = str(error)
    return Problem(name, text) if text else None


def _digest(handle: int) -> str:
    digest = hashlib.sha256()
    with open(handle, "rb", closefd=False) as file:
        file.seek(0)
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _files(root: Path) -> set[str]:
    """Everything below the store but folders and the stage."""
    names = (path.relative_to(root) for path in root.rglob("*") if not _is_folder(path))
    return {name.as_posix() for name in names if name.parts[0] != STAGE}


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
