"""Quarantine: what a repair takes out of a store, in a folder next to it. No link is followed.

A link to a folder is taken out itself, as a link; what is in that folder belongs to no store here.
"""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from storage.errors import StoreError
from storage.files.publish import sync_directory
from storage.format.records import STAGE

QUARANTINE = ".quarantine"


def quarantine_of(root: Path) -> Path:
    """The folder for what is taken out of the store at `root`.

    Raises:
        StoreError: when something else has its name.
    """
    quarantine = root.with_name(root.name + QUARANTINE)
    if quarantine.is_symlink() or (quarantine.exists() and not quarantine.is_dir()):
        found = "link" if quarantine.is_symlink() else "file"
        raise StoreError(
            f"{quarantine} is a {found}, wanted a folder: move it away, then repair again"
        )
    return quarantine


def places_to_take_out(root: Path, names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that are there; a link on the way in place of what it leads to."""
    found = [_first_link(root, name) or name for name in names]
    return tuple(name for name in dict.fromkeys(found) if os.path.lexists(root / name))


def odd_stage(root: Path) -> list[str]:
    """The stage, if it is a link or a file: nothing may be written through it."""
    stage = root / STAGE
    is_odd = stage.is_symlink() or (stage.exists() and not stage.is_dir())
    return [STAGE] if is_odd else []


def take_out(root: Path, names: Iterable[str], *, quarantine: Path) -> None:
    """Move entries of the store to the quarantine, one after the other."""
    for name in names:
        quarantine.mkdir(exist_ok=True)
        os.replace(root / name, _free_place(quarantine, name))
        sync_directory((root / name).parent)
    if quarantine.is_dir():
        sync_directory(quarantine)


def _first_link(root: Path, name: str) -> str | None:
    """The first folder on the way to `name` that is a link."""
    above = [path.as_posix() for path in reversed(PurePosixPath(name).parents)]
    return next((folder for folder in above if (root / folder).is_symlink()), None)


def _free_place(folder: Path, name: str) -> Path:
    """A name that nothing has yet, not even a link that leads nowhere: what is there stays."""
    flat, number = name.replace("/", "."), 0
    while os.path.lexists(place := folder / (f"{flat}.{number}" if number else flat)):
        number += 1
    return place
