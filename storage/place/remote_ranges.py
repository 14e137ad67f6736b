"""RemoteRanges: byte ranges of objects behind a URL, requested together, through fsspec.

Every thread and every process has its own connection, so that a fork shares none. Requests with
an error that may pass are repeated; any other one becomes an error with the URL, without password.
"""

import os
import re
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

from storage.errors import StoreCorrupt, StoreError, StoreUnreachable
from storage.files.object_file import ATTEMPTS, PAUSE_SECONDS
from storage.place.address import shown
from storage.place.byte_ranges import ByteRange
from storage.place.connection import connect

GONE = 410  # HTTP: as 404, which fsspec names itself
PAST_THE_END = 416
PASSING_STATUS = {408, 425, 429}  # of those from 400 to 499


class Ranges(Protocol):
    """Byte ranges of objects below a URL: from its server, or from a cache of it."""

    @property
    def name(self) -> str:
        """The URL, without a password."""

    def below(self, name: str) -> "Ranges":
        """The same below `<url>/<name>`."""

    def find_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes | None]:
        """The bytes that the server returns, None where it has no such object.

        Raises:
            StoreUnreachable: when it does not let us read.
        """

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """These bytes of objects, or fewer where one ends before, in the order requested.

        Raises:
            StoreCorrupt: when an object is missing, or the server returns more than requested.
            StoreUnreachable: when the server does not let us read.
        """


class RemoteRanges(threading.local):
    """See `Ranges`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.name = shown(self.url)
        self._connection: tuple[int, Any, str] = (0, None, "")
        if "::" in url or re.match(r"https?://[^?#]*[?#]", url):
            raise StoreError(
                f"{self.name}: names of objects cannot be appended to it: wanted a plain URL, "
                "without '::', '?' and '#'"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return RemoteRanges, (self.url,)

    def below(self, name: str) -> "RemoteRanges":
        """See `Ranges`."""
        return RemoteRanges(f"{self.url}/{name}")

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """See `Ranges`."""
        answers = self.find_ranges(wanted)
        return [self._refuse_odd(*pair) for pair in zip(wanted, answers, strict=True)]

    def find_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes | None]:
        """See `Ranges`. Only requests that failed are repeated."""
        given: dict[ByteRange, bytes | None] = {}
        left = list(dict.fromkeys(wanted))
        for attempt in range(ATTEMPTS):
            if not left:
                break
            if attempt:
                time.sleep(PAUSE_SECONDS * 2 ** (attempt - 1))
            again = []
            for asked, answer in zip(left, self._request(left), strict=True):
                if not isinstance(answer, Exception):
                    given[asked] = bytes(answer)
                elif _may_pass(answer) and attempt + 1 < ATTEMPTS:
                    again.append(asked)
                else:
                    given[asked] = self._judge(asked, answer)
            left = again
        return [given[asked] for asked in wanted]

    def _request(self, wanted: Sequence[ByteRange]) -> Sequence[Any]:
        """Bytes or an exception for each, all requested at once."""
        system, folder = self._connect()
        names = [f"{folder}/{asked.name}" for asked in wanted]
        starts, stops = [asked.start for asked in wanted], [asked.stop for asked in wanted]
        try:
            return list(system.cat_ranges(names, starts, stops, on_error="return"))
        except Exception as cause:  # every backend of fsspec has its own errors
            raise StoreUnreachable(f"{self.name} cannot be read ({_told(cause)})") from cause

    def _judge(self, asked: ByteRange, cause: Exception) -> bytes | None:
        """What a lasting error means: no such bytes, no such object, or no access at all."""
        status, where = _status(cause), f"{self.name}/{asked.name}"
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

    def _refuse_odd(self, asked: ByteRange, raw: bytes | None) -> bytes:
        where = f"{self.name}/{asked.name}"
        if raw is None:
            raise StoreCorrupt(f"{where} cannot be read (no such object)")
        # A server that ignores ranges sends the whole object. From byte 0 that is recognised by
        # the object's size, which callers compare.
        if asked.start and len(raw) > asked.stop - asked.start:
            raise StoreCorrupt(
                f"{where}: found {len(raw)} bytes, requested {asked.stop - asked.start}: it is "
                "another object, or the server gives no byte ranges"
            )
        return raw

    def _connect(self) -> tuple[Any, str]:
        """fsspec's file system, and the store's place in it; of this process, after a fork too."""
        pid, system, folder = self._connection
        if pid == os.getpid():
            return system, folder
        system, folder = connect(self.url, shown=self.name)
        self._connection = os.getpid(), system, folder
        return system, folder


def _status(cause: Exception) -> int | None:
    """The HTTP status: aiohttp's errors have one; s3fs wraps botocore's, which have one."""
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
    """The error without a URL: there may be a password in it."""
    status = _status(cause)
    if status is not None:
        return f"status {status}"
    return getattr(cause, "strerror", None) or type(cause).__name__
