"""Garbage: artefacts in a work directory that no current setting needs, and their removal.

Only directories that have the name of an artefact, and hold the artefact of that name, are ever
removed: unknown, damaged, renamed and linked directories stay. An artefact is renamed before it is
deleted, so that a process that is killed meanwhile leaves no half of it under its name.
"""

import os
import re
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InUse
from pipeline.shelf.freshness import NAME, PARTIAL
from pipeline.shelf.nearest import differences
from pipeline.shelf.record import Recipe, read_record, refuse_other_name
from storage.errors import EssenceError
from storage.files.lock import locked
from storage.files.open_files import open_below

STAGES = (
    *("corpus", "member", "teacher", "labels", "graph", "student", "trunk"),
    *("evaluation", "frames", "report", "export", "audio"),
)
REMOVED = "removed-"  # before the name of an artefact that is being deleted
SHOWN_DIFFERENCES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Unneeded:
    """A directory that may be removed."""

    place: Path
    num_bytes: int
    why: str


def find_unneeded(work: Path, needed: Sequence[Recipe], *, kept: Collection[str]) -> list[Unneeded]:
    """What no recipe of `needed` stands for, ordered by name. `kept` are more names that stay."""
    names = {recipe.name for recipe in needed} | set(kept)
    found = []
    for place in sorted(work.iterdir() if work.is_dir() else ()):
        if place.is_symlink() or not place.is_dir():
            continue
        why = _why(place, names, needed)
        if why is not None:
            found.append(Unneeded(place=place, num_bytes=num_bytes(place), why=why))
    return found


def _why(place: Path, names: Collection[str], needed: Sequence[Recipe]) -> str | None:
    """Why a directory is not needed; None if it is, or is not known to be an artefact."""
    name = place.name.removeprefix(REMOVED)
    match = NAME.fullmatch(name.removesuffix(PARTIAL))
    if not match or match["stage"] not in STAGES:
        return None
    if place.name.startswith(REMOVED):
        return "left by a removal that was stopped"
    if name.removesuffix(PARTIAL) in names:
        return None
    if name.endswith(PARTIAL):
        return "begun, and not of these settings"
    try:
        record = read_record(place)
        refuse_other_name(place, record)
    except EssenceError:
        return None
    return _difference(record.recipe, needed)


def _difference(recipe: Recipe, needed: Sequence[Recipe]) -> str:
    """What an artefact has that no needed one of its stage has."""
    same_stage = [each for each in needed if each.stage == recipe.stage]
    if not same_stage:
        return f"these settings need no {recipe.stage}"
    corpora = {each.inputs.get("corpus") for each in same_stage}
    if recipe.inputs.get("corpus") not in corpora:
        return "of another corpus"
    if system := recipe.remarks.get("system"):
        return f"of {system}, which is not in these settings"
    compared = [differences(recipe, each) for each in same_stage]
    found = min(compared, key=len)
    if not found:
        return f"made from another {_other_input(recipe, same_stage)}"
    more = f", and {len(found) - SHOWN_DIFFERENCES} more" if len(found) > SHOWN_DIFFERENCES else ""
    return f"differs in {', '.join(found[:SHOWN_DIFFERENCES])}{more}"


def _other_input(recipe: Recipe, same_stage: Sequence[Recipe]) -> str:
    """The inputs in which an artefact differs from the needed one that is most like it."""
    others = [
        [name for name, value in recipe.inputs.items() if each.inputs.get(name) != value]
        for each in same_stage
    ]
    least = min(others, key=len)
    return " and ".join(least) or "set of inputs"


def remove(work: Path, unneeded: Sequence[Unneeded]) -> Iterator[Unneeded]:
    """Delete these directories; each one that is gone is yielded.

    Raises:
        InUse: when a process makes an artefact in this work directory, or reads one of these.
    """
    _refuse_readers(work, unneeded)
    for each in unneeded:
        with _nothing_is_made(work):
            gone = each.place
            if not gone.name.startswith(REMOVED):
                gone = gone.with_name(REMOVED + gone.name)
                if gone.exists():
                    shutil.rmtree(gone)
                os.rename(each.place, gone)
            shutil.rmtree(gone)
        yield each


def refuse_in_use(work: Path, unneeded: Sequence[Unneeded]) -> None:
    """Raises as `remove`, before anything is removed."""
    _refuse_readers(work, unneeded)
    with _nothing_is_made(work):
        pass


@contextmanager
def _nothing_is_made(work: Path) -> Iterator[None]:
    """Hold the locks of all that is begun here: a process that makes one may read any artefact.

    Raises:
        InUse: naming what is being made.
    """
    with ExitStack() as stack:
        for begun in sorted(work.glob(f"*{PARTIAL}")):
            if begun.is_dir():
                busy = InUse(
                    f"{begun} is being made by another process, which may read any artefact: "
                    "nothing is removed until it has ended"
                )
                stack.enter_context(locked(begun, busy=busy))
        yield


def _refuse_readers(work: Path, unneeded: Sequence[Unneeded]) -> None:
    places = {each.place.resolve(): each.place for each in unneeded}
    for process, paths in open_below(work).items():
        for path in paths:
            for place in places.keys() & {path, *path.parents}:
                raise InUse(
                    f"{places[place]} is in use by process {process}: nothing is removed until "
                    "that has ended"
                )


def num_bytes(directory: Path) -> int:
    """Bytes of all files below a directory; links are not followed."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += Path(folder, name).lstat().st_size
            except FileNotFoundError:  # a writer has renamed it
                continue
    return total


def names_in(text: str) -> set[str]:
    """The names of artefacts in a text, such as the path of a store in a setting."""
    stages = "|".join(STAGES)
    return set(re.findall(rf"(?:{stages})-[0-9a-f]{{12}}", text))
