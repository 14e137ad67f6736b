"""Object file: open and read one object of a store, without following links.

Only plain files below the store are opened: no link is followed, not even for a folder on the
way, and no device or pipe is waited for. Errors that may pass (of a disk, of a network) are
retried a few times; then they are raised with the object's name.
"""

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from storage.errors import StoreCorrupt, StoreError, StoreUnreachable

T = TypeVar("T")

ATTEMPTS = 3
PAUSE_SECONDS = 0.1  # before the second attempt; twice as long before the third
MAX_OBJECT_BYTES = 1 << 28  # of an object that is read whole: 256 MiB
PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT}
# The object is missing or bad. Any other error concerns the disk or permissions.
LOST = {errno.EIO, errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not block


def patiently(act: Callable[[], T], *, where: str) -> T:
    """The result of `act`, which is repeated after errors that may pass.

    Raises:
        StoreCorrupt: when the object is missing, unreadable, or no plain file.
        StoreUnreachable: when the system does not let us read, for another reason.
    """
    for attempt in range(ATTEMPTS):
        try:
            return act()
        except OSError as cause:
            if cause.errno in PASSING and attempt + 1 < ATTEMPTS:
                time.sleep(PAUSE_SECONDS * 2**attempt)
                continue
            if cause.errno in LOST:
                raise StoreCorrupt(f"{where} cannot be read ({cause.strerror})") from cause
            raise StoreUnreachable(
                f"{where} cannot be read ({cause.strerror}): is the disk mounted, and may you "
                "read it?"
            ) from cause
    raise AssertionError("the last attempt returns or raises")


@contextmanager
def opened(root: Path, name: str) -> Iterator[tuple[int, int]]:
    """As `open_plain`, closed at the end."""
    handle, num_bytes = open_plain(root, name)
    try:
        yield handle, num_bytes
    finally:
        os.close(handle)


def open_plain(root: Path, name: str) -> tuple[int, int]:
    """(file descriptor, size in bytes) of the plain file `name` below `root`.

    Raises:
        OSError: as the system raises it; ELOOP for a link, a device, a pipe.
    """
    handle = _open_below(root, name)
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        raise OSError(errno.ELOOP, "not a plain file")
    return handle, found.st_size


def is_there(root: Path, name: str) -> bool:
    """Is this plain file there?

    Raises:
        StoreUnreachable: when the system does not let us look.
    """

    def look() -> bool:
        with opened(root, name):
            return True

    try:
        return patiently(look, where=str(root / name))
    except StoreCorrupt:
        return False


def read_start(root: Path, name: str, num_bytes: int) -> bytes | None:
    """The first bytes of a plain file, fewer if it ends before; None if there is none.

    Raises:
        StoreCorrupt: when it cannot be read, or is no plain file.
        StoreUnreachable: when the system does not let us read.
    """

    def read() -> bytes | None:
        try:
            with opened(root, name) as (handle, _):
                return os.pread(handle, num_bytes, 0)
        except (FileNotFoundError, NotADirectoryError):
            return None

    return patiently(read, where=str(root / name))


def read_whole(root: Path, name: str, *, num_bytes: int | None = None) -> bytes:
    """All bytes of a small object; of exactly `num_bytes` where that is given.

    Raises:
        StoreCorrupt: when it is missing, of another size, or larger than a small object is.
        StoreUnreachable: when the system does not let us read.
    """
    path = root / name

    def read() -> bytes:
        with opened(root, name) as (handle, found):
            if num_bytes is not None and found != num_bytes:
                raise StoreCorrupt(f"{path} is {found} bytes long, expected {num_bytes}")
            if found > MAX_OBJECT_BYTES:
                raise StoreCorrupt(
                    f"{path} is {found} bytes long, expected {MAX_OBJECT_BYTES} at most"
                )
            with os.fdopen(os.dup(handle), "rb") as file:
                return file.read()

    try:
        return patiently(read, where=str(path))
    except MemoryError as cause:
        raise StoreError(f"{path} is larger than the memory that is free") from cause


def _open_below(root: Path, name: str) -> int:
    *folders, last = name.split("/")
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            inner = os.open(folder, FOLDER, dir_fd=here)
            os.close(here)
            here = inner
        return os.open(last, PLAIN, dir_fd=here)
    finally:
        os.close(here)
