"""Untrusted stores: servers that send wrong or endless data or redirect; hostile manifests."""

import gzip
import importlib.util
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from storage.errors import StoreCorrupt, StoreError, StoreMismatch, StoreUnreachable
from storage.files.fingerprint import canonical_json
from storage.format.records import HEAD, manifest_name, record_of
from storage.transfer.source import open_source
from tests.support.makers.transfer import copy, files_of, make_store, same_store
from tests.support.paths import ROOT
from tests.support.servers.remote import served, shorten_outages

GIB = 1 << 30
LIMIT = 1 * GIB  # of address space, where something endless comes
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("aiohttp") is None, reason="pip install aiohttp"
)
Objects = dict[str, bytes]


@dataclass
class Stranger:
    """A server of these objects that misbehaves for those listed in `ways`."""

    objects: Objects
    ways: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""
    elsewhere: str = ""


@contextmanager
def serving(stranger: Stranger) -> Iterator[Stranger]:
    """Run the server; set and yield it with its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet: otherwise each answer waits 40 ms
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            name = self.path.removeprefix("/a.zarr/")
            stranger.asked.append(self.path)
            content, way = stranger.objects.get(name), stranger.ways.get(name, "")
            if content is None:
                return self.answer(404, b"no")
            start, stop = self.headers["Range"].removeprefix("bytes=").split("-")
            part = content[int(start) : int(stop) + 1]
            if way == "endless":
                return self.never_stop()
            if way == "elsewhere":
                return self.answer(302, b"", Location=f"{stranger.elsewhere}/{name}")
            if way == "short":
                self.close_connection = True
                return self.answer(206, part[:-1], **{"Content-Length": str(len(part))})
            if way == "packed":
                return self.answer(206, gzip.compress(part), **{"Content-Encoding": "gzip"})
            if way == "other bytes":
                return self.answer(206, bytes(len(part)))
            if way == "longer":
                return self.answer(200, content + b"x" * 4096)
            return self.answer(206, part)

        def answer(self, status: int, content: bytes, **headers: str) -> None:
            self.send_response(status)
            for key, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(key, value)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def never_stop(self) -> None:
            self.close_connection = True
            self.send_response(200)
            self.end_headers()
            block = b"\0" * (1 << 20)
            with suppress(OSError):  # until the client hangs up
                for _ in range(8 << 10):
                    self.wfile.write(block)

        def log_message(self, *args: Any) -> None:
            """Print nothing."""

    with served(Handler) as stranger.url:
        yield stranger


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed store; tests do not change it."""
    path = tmp_path_factory.mktemp("store") / "train.zarr"
    make_store(path, kept=3, shard_frames=820)
    return path


@pytest.fixture
def stranger(store: Path) -> Iterator[Stranger]:
    with serving(Stranger(files_of(store))) as stranger:
        yield stranger


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_outages(monkeypatch)


def test_honest_server_is_pulled_from(stranger: Stranger, store: Path, tmp_path: Path) -> None:
    copy(stranger.url, tmp_path / "a.zarr")
    assert same_store(store, tmp_path / "a.zarr")


@pytest.mark.parametrize("name", ["ids_1/c/0/0", "commits/00000001.json", "tail_0/c/1"])
@pytest.mark.parametrize("way", ["other bytes", "short", "longer", "packed", "elsewhere"])
def test_wrong_bytes_never_get_a_name(
    stranger: Stranger, store: Path, tmp_path: Path, way: str, name: str
) -> None:
    """RELIABILITY 14: an object gets its final name only after verification."""
    stranger.ways[name] = way
    with pytest.raises((StoreCorrupt, StoreUnreachable), match=name):
        copy(stranger.url, tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr" / name).exists()
    assert not (tmp_path / "a.zarr" / HEAD).exists()
    del stranger.ways[name]
    copy(stranger.url, tmp_path / "a.zarr")
    assert same_store(store, tmp_path / "a.zarr")


@pytest.mark.parametrize("way", ["other bytes", "short", "longer", "packed", "elsewhere"])
def test_invalid_head_or_metadata_makes_no_copy(
    stranger: Stranger, tmp_path: Path, way: str
) -> None:
    digest = stranger.objects[HEAD].decode().strip()
    for name in (HEAD, manifest_name(digest), "zarr.json", "utterances/length/c/0"):
        stranger.ways = {name: way}
        with pytest.raises((StoreCorrupt, StoreUnreachable), match=name):
            copy(stranger.url, tmp_path / "a.zarr")
        assert not (tmp_path / "a.zarr").exists()


def test_redirects_are_not_followed(stranger: Stranger, store: Path) -> None:
    """RELIABILITY 22: only the address that the user gave is read."""
    with serving(Stranger(files_of(store))) as other:
        stranger.elsewhere = other.url
        for name in (HEAD, "zarr.json"):
            stranger.ways = {name: "elsewhere"}
            with pytest.raises(StoreUnreachable, match="another address, which is not followed"):
                open_source(stranger.url)
        assert other.asked == []


CODE = """
import resource, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tests.support.makers.transfer import copy
from storage.errors import StoreError
import aiohttp, fsspec.implementations.http
resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}))
try:
    copy(sys.argv[1], Path(sys.argv[2]), num_threads=1)
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["manifest", "ids_0/c/0/0"])
def test_endless_responses_are_cut_off(stranger: Stranger, tmp_path: Path, name: str) -> None:
    """RELIABILITY 23: no more of a response is read than was requested."""
    digest = stranger.objects[HEAD].decode().strip()
    name = manifest_name(digest) if name == "manifest" else name
    stranger.ways[name] = "endless"
    code = CODE.format(tests=str(ROOT / "tests"), limit=LIMIT)
    ran = subprocess.run(
        [sys.executable, "-c", code, stranger.url, str(tmp_path / "a.zarr")],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")  # asyncio tells there of memory that is short
    assert name in ran.stdout
    assert "memory" not in ran.stdout
    assert not (tmp_path / "a.zarr" / name).exists()


def resealed(objects: Objects, change: Any) -> Objects:
    """Return the store with another manifest that matches its digest."""
    digest = objects[HEAD].decode().strip()
    manifest = json.loads(objects[manifest_name(digest)])
    change(manifest["objects"])
    content = (canonical_json(manifest) + "\n").encode()
    changed = record_of(content).sha256
    return objects | {HEAD: f"{changed}\n".encode(), manifest_name(changed): content}


@pytest.mark.parametrize(
    "name",
    [
        "../evil", "/etc/evil", "ids_0/../../evil", "a//b", ".bashrc", "x/.ssh/authorized_keys",
        "HEAD", "part.json", "_stage/copy.json", "evil.sh", "commits/00000009.json",
        "ids_0/c/0/1", "ids_7/c/0/0", "utterances/id_bytes/c/1", "manifest-0.json", "zarr.json/x",
        "a\nb", "ids_0\\c",
    ],
)  # fmt: skip
def test_manifest_with_other_objects_makes_no_copy(
    stranger: Stranger, tmp_path: Path, name: str
) -> None:
    """RELIABILITY 22: names outside the store, and files that are not part of a store."""
    evil = record_of(b"echo evil\n")
    record = {"bytes": evil.num_bytes, "sha256": evil.sha256}
    stranger.objects = resealed(stranger.objects, lambda objects: objects.update({name: record}))
    stranger.objects.setdefault(name, b"echo evil\n")
    with pytest.raises(StoreCorrupt):
        copy(stranger.url, tmp_path / "deep" / "a.zarr")
    assert list(tmp_path.iterdir()) == []
    assert not [path for path in stranger.asked if "evil" in path]


@pytest.mark.parametrize(
    ("name", "num_bytes"),
    [
        ("ids_0/c/0/0", 8 * GIB),
        ("commits/00000000.json", 8 * GIB),
        ("zarr.json", 8 * GIB),
        ("utterances/digest/c/0/0", 8 * GIB),
        ("tail_1/c/1", 10**30),
        ("val_0/c/1/0", 5000),
    ],
)
def test_impossible_sizes_are_refused_before_any_request(
    stranger: Stranger, tmp_path: Path, name: str, num_bytes: int
) -> None:
    """RELIABILITY 23: a claimed size of 8 GiB allocates no memory."""
    stranger.objects = resealed(
        stranger.objects, lambda objects: objects[name].update(bytes=num_bytes)
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreCorrupt, match=f"{name}|{num_bytes}"):
        copy(stranger.url, tmp_path / "a.zarr")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB
    assert not (tmp_path / "a.zarr").exists()


def test_manifest_without_a_shard_is_refused(stranger: Stranger, tmp_path: Path) -> None:
    stranger.objects = resealed(stranger.objects, lambda objects: objects.pop("val_0/c/1/0"))
    with pytest.raises(StoreCorrupt, match="does not list val_0/c/1/0"):
        copy(stranger.url, tmp_path / "a.zarr")


def test_unexpected_store_is_refused_with_both_digests(stranger: Stranger) -> None:
    digest = stranger.objects[HEAD].decode().strip()
    stranger.objects = resealed(stranger.objects, lambda objects: objects.pop("ids_1/c/0/0"))
    changed = stranger.objects[HEAD].decode().strip()
    with pytest.raises(StoreMismatch, match=f"found the store {changed}, expected {digest}"):
        open_source(stranger.url, expect=(digest,))
    assert [path.removeprefix("/a.zarr/") for path in stranger.asked] == [HEAD]


def test_untrusted_folder_with_links_is_refused(store: Path, tmp_path: Path) -> None:
    """RELIABILITY 22: an unpacked folder with links for HEAD, metadata and folders."""
    for name in (HEAD, "zarr.json", "ids_0", "commits"):
        copied = tmp_path / f"{name}.zarr"
        copy(store, copied)
        (copied / name).rename(tmp_path / f"{name}-moved")
        (copied / name).symlink_to(tmp_path / f"{name}-moved")
        with pytest.raises(StoreError, match=name):
            copy(copied, tmp_path / f"{name}-target.zarr")
