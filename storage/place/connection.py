"""Remote connection: fsspec's file system behind a URL, with settings for untrusted servers.

http, https   no redirect is followed, nothing is unpacked, and no more is read of a response
              than was requested
ssh, sftp     the host's key must be in ~/.ssh/known_hosts; ranges are read as ranges; the threads
              of a process share a connection, since servers limit their number
others        as fsspec has them: s3, gs, memory, ...
"""

import os
import threading
from typing import Any
from urllib.parse import urlsplit

from storage.errors import StoreError, StoreUnreachable
from storage.place import outage
from storage.place.outage import described

IDENTITY = {"Accept-Encoding": "identity"}  # ranges of the object, not of a gzip of it
CONNECT_SECONDS = 30
KEPT = ("ssh", "sftp")  # whose connections are kept; others make one for each request
PACKAGES = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
PACKAGES |= {"ssh": "sshfs", "sftp": "sshfs"}

_shared: dict[tuple[int, str], Any] = {}
_lock = threading.Lock()
os.register_at_fork(after_in_child=_shared.clear)  # a connection belongs to one process


def connect(url: str, *, shown: str) -> tuple[Any, str]:
    """The file system, and the place in it. `shown` is the URL without a password.

    Raises:
        StoreError: when no package here reads such URLs.
        StoreUnreachable: when the host cannot be reached, or has another key than the known one.
    """
    # Imported here: it takes longer than opening a store on disk.
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0]
    try:
        if scheme in KEPT:
            system, folder = _ssh(url)
        else:
            options = _http_options() if scheme in ("http", "https") else {}
            system, folder = url_to_fs(url, **options)
    except ImportError as cause:
        package = PACKAGES.get(scheme)
        hint = f" ('pip install {package}')" if package else ""
        raise StoreError(f"{shown} cannot be read here: {cause}{hint}") from cause
    except ValueError as cause:  # it may quote a part of the URL
        raise StoreError(
            f"{shown} cannot be read: no package reads {scheme}:// here, or its host, port or "
            "password has characters that must be written as %XX (/ is %2F, @ is %40)"
        ) from cause
    except StoreError:
        raise
    except Exception as cause:  # every backend of fsspec has its own errors
        raise StoreUnreachable(
            f"{shown} cannot be reached ({described(cause)}): is the address right, the server up, "
            "its key in known_hosts (for ssh: 'ssh HOST' once), and may you read it?"
        ) from cause
    return system, str(folder).rstrip("/")


def forget(url: str) -> bool:
    """Make a new connection next time. False where none is kept."""
    parts = url.partition("://")
    if parts[0] not in KEPT:
        return False
    with _lock:
        _shared.pop((os.getpid(), urlsplit(url).netloc), None)
    return True


def _http_options() -> dict[str, Any]:
    """Options of fsspec's HTTP file system."""
    from aiohttp import ClientTimeout

    from storage.place.http_answer import ShortAnswer

    # No limit on the whole: a large object over a slow link takes what it takes.
    patience = ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS, sock_read=outage.SILENCE_SECONDS
    )
    return {
        "headers": IDENTITY,
        "allow_redirects": False,
        "client_kwargs": {
            "response_class": ShortAnswer,
            "auto_decompress": False,
            "timeout": patience,
        },
    }


def _ssh(url: str) -> tuple[Any, str]:
    from storage.place.ssh_files import SshFiles

    parts = urlsplit(url)
    with _lock:
        key = os.getpid(), parts.netloc
        if key not in _shared:
            who = {"username": parts.username, "password": parts.password, "port": parts.port}
            _shared[key] = SshFiles(
                parts.hostname,
                known_hosts=(),  # those of ~/.ssh/known_hosts; sshfs would accept any host
                connect_timeout=CONNECT_SECONDS,
                skip_instance_cache=True,
                **{name: value for name, value in who.items() if value is not None},
            )
        return _shared[key], parts.path
