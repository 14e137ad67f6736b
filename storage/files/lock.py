"""Lock: one process at a time works in a directory. A lock ends with the process that holds it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(directory: Path, *, busy: Exception) -> Iterator[None]:
    """Hold the advisory lock of a directory.

    Raises:
        Exception: `busy`, if another process holds the lock.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as cause:
            raise busy from cause
        yield
    finally:
        os.close(handle)


@contextmanager
def waiting(directory: Path) -> Iterator[None]:
    """As `locked`, but wait for the process that holds the lock. For work of milliseconds."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
