"""Workers: which processes label the teacher's shards, as options of the command line ask.

Dask's protocol is pickle without authentication: a program that reaches a port can run code. So
a scheduler on another machine must use TLS.
"""

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Options of the command line. `insecure` allows tcp:// to another machine."""

    number: int | None = None
    scheduler: str | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.number is not None and self.scheduler is not None:
            raise SettingsError(
                "--workers starts processes here, --scheduler uses others: give one"
            )
        if self.scheduler is not None:
            _refuse_open_scheduler(self.scheduler, insecure=self.insecure)


def _refuse_open_scheduler(address: str, *, insecure: bool) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname:
        raise SettingsError(
            f"--scheduler {address}: wanted tls://HOST:PORT, or tcp://127.0.0.1:PORT"
        )
    if parts.scheme == "tcp" and not insecure and not _is_loopback(parts.hostname):
        raise SettingsError(
            f"--scheduler {address} is neither on this machine nor encrypted: any program that "
            "reaches its port can run code as you. Use tls:// (docs/cluster.md), or --insecure on "
            "a network that no one else can reach"
        )


def _is_loopback(host: str) -> bool:
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False  # connecting to it gives the error for an unknown host
    return all(ipaddress.ip_address(str(ip).partition("%")[0]).is_loopback for ip in found)
