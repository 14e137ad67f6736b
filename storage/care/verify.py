"""Verify: every object of a store against what it must be."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from storage.contents.contents import read_commit, read_contents
from storage.contents.manifest import read_head, read_manifest
from storage.errors import StoreCorrupt, StoreError, StoreUnreachable
from storage.files.fingerprint import handle_digest
from storage.files.object_file import is_there, opened, patiently
from storage.format.layout import commit_name
from storage.format.partial_copy import PART, only_here
from storage.format.records import HEAD, STAGE, ObjectRecord, Records, manifest_name
from storage.place.remote_folder import RemoteFolder, Root
from storage.place.remote_verify import look_at_bytes, look_at_sizes
from storage.transfer.plan import refuse_odd_objects

NAMED = 10  # problems that a message spells out
COMMITS = "commits/"


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
    names = sorted(_files(root) - known)
    return [Problem(name, f"{name} is not in the manifest") for name in names]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found. `digest` is empty, and shards may be absent, while it is built.

    Of a partial copy (partial_copy.py) what is here is checked.
    """

    digest: str
    num_objects: int
    num_checked: int
    num_bytes: int
    num_shards: int
    absent_shards: tuple[int, ...]
    num_left_out: int  # objects that a partial copy is not to have
    problems: tuple[Problem, ...]


def verify_store(
    root: Root,
    *,
    data: bool,
    subset: Subset = EVERYTHING,
    allow_partial: bool = False,
    advance: Callable[[int], None] = lambda _: None,
) -> Verified:
    """Check a store, or one part of `subset.parts`. `advance` is told the bytes of each object.

    A server is not asked what else it holds.

    Raises:
        StoreIncomplete: when it is under construction, and that is not allowed.
        StoreCorrupt: when HEAD or the manifest are damaged, so that the rest has no measure.
        StoreUnreachable: when the system does not let us read.
    """
    if not allow_partial or isinstance(root, RemoteFolder) or is_there(root, HEAD):
        digest = read_head(root)
        absent: tuple[int, ...] = ()
        records = read_manifest(root, digest)
    else:
        contents = read_contents(root, allow_partial=True)
        digest, absent, records = "", contents.absent_shards, contents.records
    here = only_here(root, records) if digest and isinstance(root, Path) else records
    problems = []
    for num_bytes, problem in check_objects(root, here, data=data, subset=subset):
        problems += [problem] if problem else []
        advance(num_bytes)
    if digest and isinstance(root, Path):
        problems += strangers(root, records, digest=digest)
    if digest and not problems:
        _refuse_odd_content(root, data=data)
    chosen = subset.choose(here)
    return Verified(
        digest=digest,
        num_objects=len(here),
        num_checked=len(chosen),
        num_bytes=sum(records[name].num_bytes for name in chosen),
        num_shards=num_commits(records) + len(absent),
        absent_shards=absent,
        num_left_out=len(records) - len(here),
        problems=tuple(problems),
    )


def _refuse_odd_content(root: Root, *, data: bool) -> None:
    """Sound bytes may still be of another format, or a manifest that of no store.

    Raises:
        StoreCorrupt: naming what does not belong, or a commit record that the manifest belies.
    """
    contents = read_contents(root, allow_partial=False)
    refuse_odd_objects(contents.metadata, contents.records, where=str(root))
    if not data or isinstance(root, RemoteFolder):
        return
    for shard in range(contents.metadata.plan.num_shards):
        committed = read_commit(root, contents.metadata, shard)
        for name, record in committed.items():
            if contents.records[name] != record:
                raise StoreCorrupt(
                    f"{root / commit_name(shard)} and the manifest disagree on {name}: "
                    "copy the store again"
                )


def num_bytes_to_check(root: Root, subset: Subset) -> int:
    """About how many bytes `verify_store` reads with `data`: for a progress bar."""
    if isinstance(root, RemoteFolder):
        records = read_manifest(root, read_head(root))
        return sum(record.num_bytes for record in records.values()) // subset.parts
    names = [name for name in _files(root) if name != HEAD and not name.startswith("manifest-")]
    return sum((root / name).lstat().st_size for name in names) // subset.parts


def num_commits(records: Records) -> int:
    """How many shards are committed."""
    return sum(name.startswith(COMMITS) for name in records)


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


def _files(root: Path) -> set[str]:
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
