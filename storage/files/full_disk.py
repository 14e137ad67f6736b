"""Full disk: the system names no file where a write or a flush fails; here it gets a name."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def naming(path: Path, *, needed: int | None = None) -> Iterator[None]:
    """Give an error of a full disk the path that is written, and the number of bytes needed.

    The error stays what it was: its file name is `path`, a note holds needed and free bytes.
    """
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL and error.filename is None:
            error.filename = str(path)
            error.add_note(_account(path, needed=needed))
        raise


def _account(path: Path, *, needed: int | None) -> str:
    try:
        free = f"{shutil.disk_usage(path.parent).free:,} bytes are free"
    except OSError:
        free = "free space is unknown"
    return free if needed is None else f"{needed:,} bytes are needed, {free}"
