"""Outage: a server that does not answer for a while is asked again, for a minute.

    for OUTAGE_SECONDS    408, 425, 429, 5xx; a connection that is refused or lost; silence
    ATTEMPTS times        a server that was never reached: its address may be wrong; odd errors
    once                  no such object, no access

Between attempts the pause doubles, or is what the server asks for (`Retry-After`). An attempt has
failed after SILENCE_SECONDS without a byte.
"""

import errno
import threading
import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

from storage.errors import StoreError, StoreUnreachable
from storage.files.object_file import ATTEMPTS

OUTAGE_SECONDS = 60.0  # from the first failure to the last attempt
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0  # unless the server asks for a longer one
SILENCE_SECONDS = 60.0  # without a byte: the attempt has failed
PASSING_STATUS = {408, 425, 429}  # of those from 400 to 499
NO_SERVER = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH}
NO_SERVER_NAMES = {"EndpointConnectionError", "ClientConnectorDNSError", "gaierror"}
# By name, since these packages may not be installed: aiohttp, botocore, asyncssh, fsspec.
OUTAGE_NAMES = NO_SERVER_NAMES | {
    *("ConnectionError", "TimeoutError"),  # Python's own, with all that derive from them
    *("ClientConnectionError", "ClientPayloadError"),
    *("HTTPClientError", "ConnectTimeoutError", "ReadTimeoutError"),
    *("ConnectionLost", "SFTPConnectionLost", "SFTPNoConnection", "ChannelOpenError"),
    "FSTimeoutError",
}

_reached: set[tuple[str, str]] = set()  # scheme and host of servers that have answered
_lock = threading.Lock()


class Outage:
    """Attempts to reach the server of a URL, from the first failure on."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self._server = scheme, rest.partition("/")[0]
        self.begin()

    def begin(self) -> None:
        """The next failure is the first one."""
        self._began: float | None = None
        self._attempts = 0

    def answered(self) -> None:
        """The server has answered: it exists, and what fails now is a new outage."""
        self.begin()
        with _lock:
            _reached.add(self._server)

    @property
    def seconds(self) -> float:
        """Since the first failure."""
        return 0.0 if self._began is None else time.monotonic() - self._began

    def wait(self, cause: Exception) -> bool:
        """Sleep until the next attempt. False: there is to be none."""
        if not may_pass(cause):
            return False
        self._attempts += 1
        if self._began is None:
            self._began = time.monotonic()
        if _is_outage(cause) and (self._server in _reached or not _is_no_server(cause)):
            left = OUTAGE_SECONDS - self.seconds
        else:
            left = LONGEST_PAUSE_SECONDS if self._attempts < ATTEMPTS else 0.0
        if left <= 0:
            return False
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (self._attempts - 1), LONGEST_PAUSE_SECONDS)
        time.sleep(min(max(pause, retry_after(cause)), left))
        return True


def may_pass(cause: Exception) -> bool:
    """May the same request succeed later?"""
    status = status_of(cause)
    if status is not None:
        return status >= 500 or status in PASSING_STATUS
    if isinstance(cause, StoreError):
        return isinstance(cause, StoreUnreachable) and _is_outage(cause)  # of `connect`
    return not isinstance(cause, FileNotFoundError | PermissionError | MemoryError)


def retry_after(cause: Exception) -> float:
    """Seconds that the server asks to wait; 0 where it does not.

    A date is compared with the server's own clock, which the same answer states: RFC 9110, 10.2.3.
    """
    headers = _headers(cause)
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked[:9])
    until, now = _date(asked), _date(headers.get("date", ""))
    return max(0.0, until - now) if until is not None and now is not None else 0.0


def status_of(cause: Exception) -> int | None:
    """The HTTP status: aiohttp's errors have one; s3fs wraps botocore's, which have one."""
    status = getattr(cause, "status", _metadata(cause).get("HTTPStatusCode"))
    return status if isinstance(status, int) else None


def described(cause: Exception) -> str:
    """The error without a URL: there may be a password in it."""
    status = status_of(cause)
    if status is not None:
        return f"status {status}"
    return getattr(cause, "strerror", None) or type(cause).__name__


def _is_outage(cause: Exception) -> bool:
    return status_of(cause) is not None or _is_no_server(cause) or _is_named(cause, OUTAGE_NAMES)


def _is_no_server(cause: Exception) -> bool:
    number = getattr(_inner(cause), "errno", None)
    return number in NO_SERVER or _is_named(cause, NO_SERVER_NAMES)


def _is_named(cause: Exception, names: set[str]) -> bool:
    return any(kind.__name__ in names for kind in type(_inner(cause)).__mro__)


def _inner(cause: Exception) -> BaseException:
    """What `connect` met."""
    is_wrapped = isinstance(cause, StoreUnreachable) and cause.__cause__ is not None
    return cause.__cause__ or cause if is_wrapped else cause


def _headers(cause: Exception) -> dict[str, str]:
    found = getattr(cause, "headers", None) or _metadata(cause).get("HTTPHeaders")
    if not isinstance(found, Mapping):
        return {}
    return {str(name).lower(): str(value) for name, value in found.items()}


def _metadata(cause: Exception) -> dict[str, object]:
    response = getattr(cause.__cause__, "response", None)
    found = response.get("ResponseMetadata") if isinstance(response, dict) else None
    return found if isinstance(found, dict) else {}


def _date(text: str) -> float | None:
    """Seconds since 1970 of an HTTP date."""
    found = parsedate_tz(text)
    try:
        return None if found is None else float(mktime_tz(found))
    except (ValueError, OverflowError):
        return None
