"""Leftovers: one name for everything unfinished, by which a later run recognises and removes it.

    .NAME.PID.partial      a file before it is renamed to NAME, or a folder for scratch work

A process removes its own, unless it is killed. Two places continue from what a killed process left
and have names of their own: a store's _stage/ and an artefact's NAME.partial/.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LEFTOVER = re.compile(r"\..+\.\d+\.partial", re.DOTALL)


def unfinished(path: Path) -> Path:
    """Where this process writes what becomes `path`; in the same folder, to be renamed."""
    return path.with_name(f".{path.name}.{os.getpid()}.partial")


def is_leftover(name: str) -> bool:
    """Is this the name of something unfinished? Nothing finished has such a name."""
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(directory: Path) -> None:
    """Remove what killed processes left in a directory and in all folders below.

    The caller holds the directory's lock: no other process writes there now.
    """
    for folder, folders, files in os.walk(directory):
        for name in filter(is_leftover, files):
            (Path(folder) / name).unlink()
        for name in [*filter(is_leftover, folders)]:
            folders.remove(name)  # it is not walked through
            _remove_folder(Path(folder) / name)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """An empty folder next to `path`, under an unfinished name; removed at the end."""
    scratch = unfinished(path)
    _remove_folder(scratch)
    scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _remove_folder(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
