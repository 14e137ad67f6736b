"""RemoteRanges: byte ranges of objects behind a URL, requested together, through fsspec.

Every thread and every process has its own connection, so that a fork shares none. Requests with
an error that may pass are repeated (outage.py); any other one becomes an error with the URL, as
address.py shows it.
"""

import os
import re
import threading
from collections.abc import Sequence
from typing import Any, Protocol

from storage.errors import StoreCorrupt, StoreError, StoreUnreachable
from storage.place.address import shown
from storage.place.byte_ranges import ByteRange
from storage.place.connection import connect, forget
from storage.place.outage import Outage, described, may_pass, status_of

GONE = 410  # HTTP: as 404, which fsspec names itself
PAST_THE_END = 416


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
                f"{self.name}: wanted a plain URL, without '::', '?' and '#': names of objects are "
                "appended to it"
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
        left, outage = list(dict.fromkeys(wanted)), Outage(self.url)
        while left:
            failed: dict[ByteRange, Exception] = {}
            for asked, answer in zip(left, self._request(left), strict=True):
                if not isinstance(answer, Exception):
                    given[asked] = bytes(answer)
                elif may_pass(answer):
                    failed[asked] = answer
                else:
                    given[asked] = self._judge(asked, answer)
            if len(failed) < len(left):
                outage.answered()
            left = list(failed)
            if failed and not outage.wait(next(iter(failed.values()))):
                for asked, cause in failed.items():
                    self._judge(asked, cause, seconds=outage.seconds)
        return [given[asked] for asked in wanted]

    def _request(self, wanted: Sequence[ByteRange]) -> Sequence[Any]:
        """Bytes or an exception for each, all requested at once."""
        try:
            system, folder = self._connect()
        except StoreUnreachable as cause:
            return [cause] * len(wanted)
        names = [f"{folder}/{asked.name}" for asked in wanted]
        starts, stops = [asked.start for asked in wanted], [asked.stop for asked in wanted]
        try:
            answers = list(system.cat_ranges(names, starts, stops, on_error="return"))
        except Exception as cause:  # noqa: BLE001  every backend of fsspec has its own errors
            answers = [cause] * len(wanted)
        if any(isinstance(answer, Exception) and may_pass(answer) for answer in answers):
            self._disconnect()
        return answers

    def _judge(self, asked: ByteRange, cause: Exception, *, seconds: float = 0) -> bytes | None:
        """What a lasting error means: no such bytes, no such object, or no access at all."""
        status, where = status_of(cause), f"{self.name}/{asked.name}"
        if status == PAST_THE_END:
            return b""
        if status == GONE or isinstance(cause, FileNotFoundError):
            return None
        if isinstance(cause, MemoryError):
            raise StoreError(f"{where} is larger than the memory that is free") from cause
        if isinstance(cause, StoreUnreachable):  # of `connect`
            raise cause
        tried = f", for {seconds:.0f} s" if seconds >= 1 else ""
        raise StoreUnreachable(
            f"{where} cannot be read ({described(cause)}{tried}): is the address right, the server "
            "up, and may you read it?"
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

    def _disconnect(self) -> None:
        """Where a connection is kept, make a new one: the server may have been restarted."""
        if forget(self.url):
            self._connection = (0, None, "")
