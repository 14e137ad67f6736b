"""RemoteFolder: a sealed store behind a URL, read through fsspec. Nothing is written there.

It promises nothing about the bytes that it gives: who asks compares them with the manifest, as
those of a disk. It holds no list of names, and asks for no sizes; both are the manifest's. What is
asked for together is on its way together: it costs one round trip, not one for each object. Every
thread and every process has a connection of its own, so that a fork shares none.
"""

import os
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from storage.errors import StoreCorrupt, StoreError, StoreUnreachable
from storage.files.object_file import ATTEMPTS, MAX_OBJECT_BYTES, PAUSE_SECONDS
from storage.place.byte_ranges import ByteRange
from storage.place.connection import connect

GONE = 410  # HTTP: as 404, which fsspec names itself
PAST_THE_END = 416
PASSING_STATUS = {408, 425, 429}  # of those from 400 to 499


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

    def read_whole(self, sizes: Mapping[str, int | None]) -> list[bytes]:
        """All bytes of small objects; of exactly so many where a size is given.

        Raises:
            StoreCorrupt: when one is missing, of another size, or larger than a small object is.
            StoreUnreachable: when the server does not let us read.
        """
        most = {n: MAX_OBJECT_BYTES if size is None else size for n, size in sizes.items()}
        for name, size in most.items():
            if size > MAX_OBJECT_BYTES:
                raise StoreCorrupt(
                    f"{self / name} has {size} bytes, wanted {MAX_OBJECT_BYTES} at most"
                )
        # One more than there should be, to see that there is none.
        raws = self.read_ranges([ByteRange(name, 0, size + 1) for name, size in most.items()])
        for (name, size), raw in zip(most.items(), raws, strict=True):
            if len(raw) > size or (sizes[name] is not None and len(raw) != size):
                found = len(raw) if len(raw) <= size else f"more than {size}"
                raise StoreCorrupt(f"{self / name} has {found} bytes, written were {size}")
        return raws

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """These bytes of objects, or fewer where one ends before, in the order asked.

        Raises:
            StoreCorrupt: when an object is missing, or the server gives more than was asked.
            StoreUnreachable: when the server does not let us read.
        """
        answers = self.ask(wanted)
        return [self._refuse_odd(*pair) for pair in zip(wanted, answers, strict=True)]

    def ask(self, wanted: Sequence[ByteRange]) -> list[bytes | None]:
        """What the server gives as these bytes, None where it has no such object.

        Errors that may pass are met by asking again for what is lacking.

        Raises:
            StoreUnreachable: when it does not let us read.
        """
        given: dict[ByteRange, bytes | None] = {}
        left = list(dict.fromkeys(wanted))
        for attempt in range(ATTEMPTS):
            if not left:
                break
            if attempt:
                time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
            again = []
            for place, answer in zip(left, self._request(left), strict=True):
                if not isinstance(answer, Exception):
                    given[place] = bytes(answer)
                elif _may_pass(answer) and attempt + 1 < ATTEMPTS:
                    again.append(place)
                else:
                    given[place] = self._judge(place, answer)
            left = again
        return [given[place] for place in wanted]

    def _request(self, wanted: Sequence[ByteRange]) -> Sequence[Any]:
        """Bytes or an exception for each, all asked for at once."""
        system, folder = self._connect()
        names = [f"{folder}/{place.name}" for place in wanted]
        starts, stops = [place.start for place in wanted], [place.stop for place in wanted]
        try:
            return list(system.cat_ranges(names, starts, stops, on_error="return"))
        except Exception as cause:  # every backend of fsspec has its own errors
            raise StoreUnreachable(f"{self} cannot be read ({_told(cause)})") from cause

    def _judge(self, place: ByteRange, cause: Exception) -> bytes | None:
        """What an error that stays means: no such bytes, no such object, or no reading at all."""
        status, where = _status(cause), self / place.name
        if status == PAST_THE_END:
            return b""
        if status == GONE or isinstance(cause, FileNotFoundError):
            return None
        if isinstance(cause, MemoryError):
            raise StoreError(f"{where} is larger than the memory that is free") from cause
        raise StoreUnreachable(
            f"{where} cannot be read ({_told(cause)}): is the address right, the server up, and "
            "may you read it?"
        ) from cause

    def _refuse_odd(self, place: ByteRange, raw: bytes | None) -> bytes:
        if raw is None:
            raise StoreCorrupt(f"{self / place.name} cannot be read (no such object)")
        if place.start and len(raw) > place.stop - place.start:
            raise StoreCorrupt(
                f"{self / place.name}: found {len(raw)} bytes, asked were "
                f"{place.stop - place.start}: it is another object, or the server gives no byte "
                "ranges"
            )
        return raw

    def _connect(self) -> tuple[Any, str]:
        """fsspec's file system, and the store's place in it."""
        pid, system, folder = self._connection
        if pid == os.getpid():
            return system, folder
        system, folder = connect(self.url, shown=str(self))
        self._connection = os.getpid(), system, folder
        return system, folder


Root = Path | RemoteFolder


def find_root(path: Root | str) -> Root:
    """A folder of this machine for a path or file://, else what lies behind the URL."""
    if not isinstance(path, str):
        return path
    if "://" not in path:
        return Path(path)
    if not path.startswith("file://"):
        return RemoteFolder(path)
    parts = urlsplit(path)
    if parts.netloc not in ("", "localhost"):
        raise StoreError(f"{path} names another machine: write file:///folder/train.zarr")
    return Path(url2pathname(parts.path))


def _status(cause: Exception) -> int | None:
    """The HTTP status: aiohttp's errors have one, botocore's stand behind those of s3fs."""
    response = getattr(cause.__cause__, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    status = getattr(cause, "status", metadata.get("HTTPStatusCode"))
    return status if isinstance(status, int) else None


def _may_pass(cause: Exception) -> bool:
    status = _status(cause)
    if status is not None:
        return not 400 <= status < 500 or status in PASSING_STATUS
    return not isinstance(cause, FileNotFoundError | PermissionError | MemoryError)


def _told(cause: Exception) -> str:
    """The error in words that hold no URL: there may be a password in it."""
    status = _status(cause)
    if status is not None:
        return f"status {status}"
    return getattr(cause, "strerror", None) or type(cause).__name__
