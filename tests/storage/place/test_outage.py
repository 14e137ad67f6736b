"""A server that is away for a while is waited for; one that stays away is named, after a minute."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import StoreUnreachable
from storage.place import outage
from storage.place.find_place import find_place
from storage.place.outage import Outage, may_pass, retry_after
from storage.place.place import Place
from tests.support.makers.transfer import copy, make_store, same_store
from tests.support.servers.remote import ObjectServer, http_server, read_objects, shorten_outages

PASSING = (408, 425, 429, 500, 502, 503, 504, 599)


class Answer(Exception):
    """As aiohttp's: an error with a status and headers."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with http_server() as server:
        server.objects = {"HEAD": b"here", "other": b"there"}
        yield server


def read(place: Place | str, name: str = "HEAD") -> bytes | None:
    return find_place(place).peek(name, 100)


def test_half_a_second_of_503_is_not_noticed(server: ObjectServer) -> None:
    """RELIABILITY 37: with the clock of the program, not one of this test."""
    server.down_until = time.monotonic() + 0.5
    assert read(server.url) == b"here"
    assert len(server.asked) >= 3


@pytest.mark.parametrize("status", PASSING)
def test_request_is_repeated_until_the_server_is_back(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """RELIABILITY 37: more often than three times, as it was."""
    shorten_outages(monkeypatch, seconds=20)
    monkeypatch.setattr(outage, "FIRST_PAUSE_SECONDS", 0.001)
    server.failures = [status] * 7
    assert read(server.url) == b"here"
    assert len(server.asked) == 8


@pytest.mark.parametrize("status", PASSING)
def test_outage_that_lasts_is_named_with_its_length(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """RELIABILITY 37: after the whole time, not before and not for ever."""
    shorten_outages(monkeypatch, seconds=1.2)
    server.failures = [status] * 1000
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match=rf"HEAD cannot be read \(status {status}, for 1 s"):
        read(server.url)
    assert 1.1 < time.monotonic() - began < 5
    assert len(server.asked) >= 5


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_server_decides_how_long_to_wait(server: ObjectServer, form: str) -> None:
    """RELIABILITY 37: Retry-After; a date is compared with the server's own clock."""
    years_off = 1e9
    server.headers = {"Retry-After": "1"}
    if form == "date":
        server.headers = {
            "Retry-After": formatdate(years_off + 1, usegmt=True),
            "Date": formatdate(years_off, usegmt=True),
        }
    server.failures = [503]
    began = time.monotonic()
    assert read(server.url) == b"here"
    assert 1 <= time.monotonic() - began < 3


def test_wait_that_a_server_asks_for_is_limited(
    server: ObjectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 37: a server that asks for a week gets one more request at the end."""
    shorten_outages(monkeypatch, seconds=0.5)
    server.headers, server.failures = {"Retry-After": "604800"}, [429] * 100
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match="status 429"):
        read(server.url)
    assert 0.4 < time.monotonic() - began < 3
    assert len(server.asked) == 2


def test_server_that_was_never_reached_is_not_waited_for() -> None:
    """RELIABILITY 37: its address may be wrong. With the clock of the program."""
    began = time.monotonic()
    with pytest.raises(StoreUnreachable, match="HEAD cannot be read"):
        read("http://127.0.0.1:9/a.zarr")
    assert time.monotonic() - began < 10


@contextmanager
def at(port: int) -> Iterator[None]:
    """A server that has one object, at a certain port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(206)
            self.send_header("Content-Length", "4")
            self.end_headers()
            self.wfile.write(b"here")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as made:
        thread = Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield
        finally:
            made.shutdown()
            thread.join()


def test_server_that_is_restarted_is_waited_for() -> None:
    """RELIABILITY 37: refused connections, after it was reached once."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port = asked.getsockname()[1]
    url = f"http://127.0.0.1:{port}/a.zarr"
    with at(port):
        assert read(url) == b"here"
    found: list[bytes | None] = []
    reader = Thread(target=lambda: found.append(read(url)))
    reader.start()
    time.sleep(0.7)
    assert not found
    with at(port):
        reader.join(30)
    assert found == [b"here"]


def test_silence_is_a_failed_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """RELIABILITY 37: a server that takes the request and never answers."""
    shorten_outages(monkeypatch, seconds=1)
    monkeypatch.setattr(outage, "SILENCE_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        began = time.monotonic()
        with pytest.raises(StoreUnreachable, match="HEAD cannot be read"):
            read(f"http://127.0.0.1:{listener.getsockname()[1]}/a.zarr")
        assert 1 < time.monotonic() - began < 6


def test_pull_goes_on_through_outages(tmp_path: Path, server: ObjectServer) -> None:
    """RELIABILITY 37: every few objects the server is away for a moment."""
    make_store(tmp_path / "a.zarr", kept=5)
    server.objects = read_objects(tmp_path / "a.zarr")
    answer = server.give

    def interrupted(name: str, start: int, stop: int) -> tuple[int, bytes]:
        if len(server.asked) % 9 == 4:
            server.asked.append((name, start, stop))
            server.down_until = time.monotonic() + 0.15
        return answer(name, start, stop)

    server.give = interrupted  # type: ignore[method-assign]
    copy(server.url, tmp_path / "b.zarr")
    assert same_store(tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert server.down_until


@given(st.integers(400, 599))
def test_passing_statuses(status: int) -> None:
    assert may_pass(Answer(status)) == (status >= 500 or status in PASSING)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "17"}, 17),
        ({"retry_after": " 0 "}, 0),
        ({}, 0),
        ({"Retry_After": "-5"}, 0),
        ({"Retry_After": "soon"}, 0),
        ({"Retry_After": "9" * 400}, 999_999_999),
        ({"Retry_After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0),  # the server states no clock
        (
            {
                "Retry_After": "Fri, 31 Dec 1999 23:59:59 GMT",
                "Date": "Fri, 31 Dec 1999 23:59:00 GMT",
            },
            59,
        ),
        (
            {
                "Retry_After": "Fri, 31 Dec 1999 23:59:00 -0000",
                "Date": "Fri, 31 Dec 1999 23:59:59 GMT",
            },
            0,
        ),
    ],
)
def test_retry_after_in_both_forms(headers: dict[str, str], seconds: float) -> None:
    assert retry_after(Answer(503, **headers)) == seconds


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_retry_after_is_a_finite_wait(asked: str, date: str) -> None:
    assert 0 <= retry_after(Answer(503, Retry_After=asked, Date=date)) < float("inf")


def test_pauses_double_up_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    trouble = Outage("http://host/a.zarr")
    for _ in range(9):
        assert trouble.wait(Answer(503))
    assert slept == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0]
