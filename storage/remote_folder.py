"""RemoteFolder: a sealed store behind a URL, read through fsspec. Nothing is written there.

It promises nothing about the bytes that it gives: who asks compares them with the manifest, as
those of a disk. It holds no list of names, and asks for no sizes; both are the manifest's. Every
thread and every process has a connection of its own, so that a fork shares none.
"""

import errno
import os
import re
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from storage.errors import StoreCorrupt, StoreError, StoreUnreachable
from storage.object_file import ATTEMPTS, MAX_OBJECT_BYTES, PAUSE_SECONDS

GONE = 410  # HTTP: as 404, which fsspec names itself
PAST_THE_END = 416
PASSING_STATUS = {408, 425, 429}  # of those from 400 to 499
IDENTITY = {"Accept-Encoding": "identity"}  # ranges of the object, not of a gzip of it


class RemoteFolder(threading.local):
    """Where a store lies; `str` of it is the URL, without a password."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._name = re.sub(r"://[^/@]*@", "://***@", self.url)
        self._connection: tuple[int, Any, str] = (0, None, "")
        if "::" in url or re.match(r"https?://[^?#]*[?#]", url):
            raise StoreError(
                f"{self._name}: names of objects cannot be put behind it: wanted a plain URL, "
                "without '::', '?' and '#'"
            )

    def __str__(self) -> str:
        return self._name

    def __truediv__(self, name: str) -> str:
        """An object's name in messages."""
        return f"{self._name}/{name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteFolder, (self.url,)

    def read_whole(self, name: str, *, num_bytes: int | None = None) -> bytes:
        """All bytes of a small object; of exactly `num_bytes` where that is given.

        Raises:
            StoreCorrupt: when it is missing, of another size, or larger than a small object is.
            StoreUnreachable: when the server does not let us read.
        """
        most = MAX_OBJECT_BYTES if num_bytes is None else num_bytes
        if most > MAX_OBJECT_BYTES:
            raise StoreCorrupt(f"{self / name} has {most} bytes, wanted {MAX_OBJECT_BYTES} at most")
        raw = self.read_range(name, 0, most + 1)
        if len(raw) > most or (num_bytes is not None and len(raw) != num_bytes):
            found = len(raw) if len(raw) <= most else f"more than {most}"
            raise StoreCorrupt(f"{self / name} has {found} bytes, written were {most}")
        return raw

    def read(self, name: str, num_bytes: int, offset: int) -> bytes:
        """Bytes [offset, offset + num_bytes) of an object.

        Raises:
            StoreCorrupt: when it is missing, or ends before.
            StoreUnreachable: when the server does not let us read.
        """
        raw = self.read_range(name, offset, offset + num_bytes)
        if len(raw) != num_bytes:
            raise StoreCorrupt(
                f"{self / name} ends at byte {offset + len(raw)}, wanted are those up to "
                f"{offset + num_bytes}"
            )
        return raw

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of an object, or fewer where it ends before. Raises as `read`."""
        try:
            raw = self.ask(name, start, stop)
        except FileNotFoundError as cause:
            raise StoreCorrupt(f"{self / name} cannot be read (no such object)") from cause
        if start and len(raw) > stop - start:
            raise StoreCorrupt(
                f"{self / name}: found {len(raw)} bytes, asked were {stop - start}: it is another "
                "object, or the server gives no byte ranges"
            )
        return raw

    def ask(self, name: str, start: int, stop: int) -> bytes:
        """What the server gives as these bytes, tried again after errors that may pass.

        Raises:
            FileNotFoundError: when it has no such object.
            StoreUnreachable: when it does not let us read.
        """
        for attempt in range(ATTEMPTS):
            try:
                system, folder = self._connect()
                return bytes(system.cat_file(f"{folder}/{name}", start=start, end=stop))
            except (StoreError, FileNotFoundError):
                raise
            except MemoryError as cause:
                raise StoreError(f"{self / name} is larger than the memory that is free") from cause
            except Exception as cause:  # every backend of fsspec has its own errors
                status = getattr(cause, "status", None)
                if status == PAST_THE_END:
                    return b""
                if status == GONE:
                    raise FileNotFoundError(errno.ENOENT, "gone", self / name) from cause
                if _may_pass(cause, status) and attempt + 1 < ATTEMPTS:
                    time.sleep(PAUSE_SECONDS * 2**attempt)
                    continue
                raise StoreUnreachable(
                    f"{self / name} cannot be read ({_told(cause, status)}): is the address right, "
                    "the server up, and may you read it?"
                ) from cause
        raise AssertionError("the last attempt returns or raises")

    def _connect(self) -> tuple[Any, str]:
        """fsspec's file system, and the store's place in it."""
        pid, system, folder = self._connection
        if pid == os.getpid():
            return system, folder
        # Here, since it takes longer to import than a store on disk to open.
        from fsspec.core import url_to_fs

        options = {"headers": IDENTITY} if self.url.startswith(("http:", "https:")) else {}
        try:
            system, folder = url_to_fs(self.url, **options)
        except ImportError as cause:
            raise StoreError(
                f"{self} cannot be read here: {cause} ('pip install aiohttp' for http and https, "
                "'pip install s3fs' for s3)"
            ) from cause
        except ValueError as cause:
            raise StoreError(f"{self} cannot be read: {cause}") from cause
        self._connection = os.getpid(), system, folder.rstrip("/")
        return system, self._connection[2]


Root = Path | RemoteFolder


def find_root(path: Path | str) -> Root:
    """A folder of this machine for a path or file://, else what lies behind the URL."""
    if isinstance(path, Path) or "://" not in path:
        return Path(path)
    if not path.startswith("file://"):
        return RemoteFolder(path)
    parts = urlsplit(path)
    if parts.netloc not in ("", "localhost"):
        raise StoreError(f"{path} names another machine: write file:///folder/train.zarr")
    return Path(url2pathname(parts.path))


def _may_pass(cause: Exception, status: int | None) -> bool:
    if isinstance(status, int):
        return not 400 <= status < 500 or status in PASSING_STATUS
    return not isinstance(cause, PermissionError)


def _told(cause: Exception, status: int | None) -> str:
    """The error in words that hold no URL: there may be a password in it."""
    if status is not None:
        return f"status {status}"
    return getattr(cause, "strerror", None) or type(cause).__name__
