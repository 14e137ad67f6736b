"""Open files: which other processes of this machine use a folder. Linux: reads /proc."""

import os
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def open_below(folder: Path) -> dict[int, set[Path]]:
    """Process -> what it has open or mapped below a folder, or works in. Not of this process.

    Processes of other users cannot be looked into, and are left out.
    """
    root, found = str(folder.resolve()) + os.sep, {}
    for number in (int(path.name) for path in PROC.iterdir() if path.name.isdecimal()):
        used = {Path(path) for path in _used_by(number) if path.startswith(root)}
        if used and number != os.getpid():
            found[number] = used
    return found


def _used_by(number: int) -> Iterator[str]:
    """Paths of a process's open files, mapped files and working directory."""
    process = PROC / str(number)
    try:
        for link in (process / "cwd", *(process / "fd").iterdir()):
            yield str(link.readlink())
        for line in (process / "maps").read_text(errors="replace").splitlines():
            yield "/" + line.partition("/")[2]
    except OSError:  # it has ended, or is another user's
        return
