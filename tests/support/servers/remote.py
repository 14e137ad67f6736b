"""Servers that objects of a store lie on: a folder, a counting server in memory, HTTP."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Barrier, BrokenBarrierError, Thread
from typing import Any, ClassVar
from urllib.parse import unquote

import fsspec
import pytest
from fsspec import AbstractFileSystem

from storage.place import outage

Objects = dict[str, bytes]


def read_objects(root: Path) -> Objects:
    """All files below a folder, by their names there."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


class Waves:
    """Answers wait until all requests of their wave have come: they were sent together, or fail."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes
        self._barriers = iter([wave for wave in map(Barrier, sizes) for _ in range(wave.parties)])

    def wait(self) -> bool:
        """Whether this request's wave is complete; there may be no more requests than waves say."""
        barrier = next(self._barriers, None)
        try:
            return barrier is not None and barrier.wait(timeout=5) >= 0
        except BrokenBarrierError:
            return False


class ObjectServer:
    """Objects behind a URL. `asked` holds (name, start, stop) of every request."""

    @property
    def told(self) -> str:
        """What messages call it."""
        return self.url

    def __init__(self, url: str) -> None:
        self.url = url
        self.objects: Objects = {}
        self.asked: list[tuple[str, int, int]] = []
        self.failures: list[int] = []  # HTTP statuses of the next requests
        self.headers: dict[str, str] = {}  # of answers that are failures
        self.down_until = 0.0  # on time.monotonic: status 503 before
        self.knows_ranges = True
        self.waves: Waves | None = None

    def publish(self) -> None:
        """Objects were changed."""

    def give(self, name: str, start: int, stop: int) -> tuple[int, bytes]:
        """As an HTTP server does: status and bytes."""
        self.asked.append((name, start, stop))
        if self.waves is not None and not self.waves.wait():
            return 403, b"<html>not together</html>"
        if time.monotonic() < self.down_until:
            return 503, b"<html>down</html>"
        if self.failures:
            return self.failures.pop(0), b"<html>sorry</html>"
        if name not in self.objects:
            return 404, b"<html>not here</html>"
        content = self.objects[name]
        if not self.knows_ranges:
            return 200, content
        return (206, content[start:stop]) if start < len(content) else (416, b"")


class ObjectFolder(ObjectServer):
    """A folder, asked for by its file:// URL."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder.as_uri())
        self.folder = folder

    @property
    def told(self) -> str:
        """Its path."""
        return str(self.folder)

    def publish(self) -> None:
        """Write what differs."""
        held = read_objects(self.folder)
        for name in held.keys() - self.objects.keys():
            (self.folder / name).unlink()
        for name, content in self.objects.items():
            if held.get(name) != content:
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / name).write_bytes(content)


class StatusError(Exception):
    """As aiohttp's: no OSError, and with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class CountingFiles(AbstractFileSystem):
    """counted://a.zarr: the objects of CountingFiles.place, and nothing but `cat_file`."""

    protocol = "counted"
    server: ClassVar[ObjectServer]

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        """Bytes of an object, or the errors that fsspec's own file systems give."""
        assert path.startswith("a.zarr/")
        assert start is not None
        assert end is not None
        status, content = self.place.give(path.removeprefix("a.zarr/"), start, end)
        if status == 404:
            raise FileNotFoundError(path)
        if status >= 400:
            raise StatusError(status)
        return content


def counted_server() -> ObjectServer:
    """An empty server behind counted://a.zarr; there is one at a time."""
    fsspec.register_implementation("counted", CountingFiles, clobber=True)
    CountingFiles.place = ObjectServer("counted://a.zarr")
    return CountingFiles.place


@contextmanager
def http_server() -> Iterator[ObjectServer]:
    """An empty server behind http://127.0.0.1, with byte ranges."""
    server = ObjectServer("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: else each answer waits 40 ms for the client
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            name = unquote(self.path).removeprefix("/a.zarr/")
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"])
            assert found
            assert self.headers["Accept-Encoding"] == "identity"
            status, content = server.give(name, int(found[1]), int(found[2]) + 1)
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            for key, value in server.headers.items() if status >= 400 else ():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 128  # the default of 5 makes clients that come together wait

    with served(Handler, Server) as server.url:
        yield server


@contextmanager
def served(
    handler: type[BaseHTTPRequestHandler], kind: type[ThreadingHTTPServer] = ThreadingHTTPServer
) -> Iterator[str]:
    """A server of this machine, in threads; yields the address of a store on it."""
    with kind(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/a.zarr"
        finally:
            server.shutdown()
            thread.join()


def shorten_outages(patch: pytest.MonkeyPatch, *, seconds: float = 0.1) -> None:
    """Wait for a server for a fraction of a second, not a minute; all pauses in proportion."""
    share = seconds / outage.OUTAGE_SECONDS
    for name in ("OUTAGE", "FIRST_PAUSE", "LONGEST_PAUSE"):
        patch.setattr(outage, f"{name}_SECONDS", getattr(outage, f"{name}_SECONDS") * share)
