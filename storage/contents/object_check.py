"""Object check: objects of a store against their records, and what lies there besides."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.contents.part import only_here
from storage.errors import StoreCorrupt, StoreError, StoreUnreachable
from storage.files.fingerprint import handle_digest
from storage.files.object_file import opened, patiently
from storage.format.partial_copy import PART
from storage.format.records import HEAD, STAGE, ObjectRecord, Records, manifest_name
from storage.place.remote_folder import RemoteFolder, Root
from storage.place.remote_verify import look_at_bytes, look_at_sizes

NAMED = 10  # problems that a message spells out


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
    root: Root, records: Records, *, data: bool, subset: Subset = EVERYTHING
) -> Iterator[tuple[int, Problem | None]]:
    """(bytes, what is wrong) of one object after the other: sizes, and with `data` all bytes.

    Raises:
        StoreUnreachable: when the system does not let us read.
    """
    chosen = {name: records[name] for name in subset.choose(records)}
    if isinstance(root, RemoteFolder):
        looked = (look_at_bytes if data else look_at_sizes)(root, chosen)
    else:
        looked = ((n, _look_here(root, n, record, data=data)) for n, record in chosen.items())
    for name, text in looked:
        yield chosen[name].num_bytes, Problem(name, text) if text else None


def strangers(root: Path, records: Records, *, digest: str) -> list[Problem]:
    """What lies in the store and does not belong there."""
    known = {*records, HEAD, PART, manifest_name(digest)} if digest else {*records}
    names = sorted(files_below(root) - known)
    return [Problem(name, f"{name} is not in the manifest") for name in names]


def verify_objects(
    root: Root, records: Records, *, digest: str, data: bool, subset: Subset = EVERYTHING
) -> None:
    """Check all objects; nothing else may be there. A server is not asked what else it holds.

    Raises:
        StoreCorrupt: naming what is wrong.
    """
    here = only_here(root, records) if isinstance(root, Path) else records
    found = [problem for _, problem in check_objects(root, here, data=data, subset=subset)]
    others = strangers(root, records, digest=digest) if isinstance(root, Path) else []
    refuse_problems(root, [*filter(None, found), *others])


def refuse_problems(root: Root, problems: list[Problem]) -> None:
    """Raise StoreCorrupt where there are any, with the first of them."""
    if problems:
        more = f" and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
        named = "; ".join(problem.text for problem in problems[:NAMED])
        local = isinstance(root, Path)
        repair = f", or run 'essence cache repair {root}'" if local else " to the server"
        raise StoreCorrupt(f"{root}: {named}{more}: copy the store again{repair}")


def _look_here(root: Path, name: str, record: ObjectRecord, *, data: bool) -> str | None:
    path = root / name

    def look() -> str | None:
        with opened(root, name) as (handle, found):
            if found != record.num_bytes:
                return f"{path} has {found} bytes, written were {record.num_bytes}"
            if data and handle_digest(handle) != record.sha256:
                return f"{path}: its sha256 differs from the manifest's"
        return None

    try:
        return patiently(look, where=str(path))
    except StoreCorrupt as error:
        return str(error)


def files_below(root: Path) -> set[str]:
    """Everything below the store but folders and the stage, which a writer may remove just now.

    Raises:
        StoreUnreachable: when the system does not let us look.
    """

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise StoreUnreachable(f"{error.filename} cannot be listed ({error.strerror})")

    found: set[str] = set()
    for folder, folders, names in os.walk(root, onerror=refuse):
        below = Path(folder).relative_to(root)
        if below == Path():
            folders[:] = [name for name in folders if name != STAGE]
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        found.update((below / name).as_posix() for name in (*names, *links))
    return found
