"""Copying to and from real servers: nginx, OpenSSH, S3; lost connections, killed processes."""

import importlib.util
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from storage.errors import (
    StoreCorrupt,
    StoreError,
    StoreIncomplete,
    StoreMismatch,
    StoreUnreachable,
)
from storage.format.partial_copy import UNFINISHED, PartialCopy
from storage.format.records import HEAD
from storage.place import connection as remote_connection
from storage.read.reader import open_store
from storage.transfer.plan import Selection
from storage.transfer.remote_target import RemoteTarget
from storage.transfer.source import open_source
from storage.transfer.stores import find_stores
from tests.support.makers.transfer import copy, make_store, same_store
from tests.support.paths import ROOT
from tests.support.servers.remote import shorten_outages
from tests.support.servers.servers import link, nginx, s3_server, sshd

K4 = Selection(ks=(4,))
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # moto's and botocore's own


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skip the tests if one of them is missing."""
    lacking = [name for name in packages if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(lacking), reason=f"not installed: pip install {lacking}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed store; tests do not change it."""
    path = tmp_path_factory.mktemp("www") / "train.zarr"
    make_store(path)
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four tiers and two shards; tests do not change it."""
    path = tmp_path_factory.mktemp("small") / "train.zarr"
    make_store(path, kept=9, shard_frames=820)
    return path


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_outages(monkeypatch)


class Sharing:
    """Contract of every server that can be written and read."""

    def test_pushed_store_is_pulled_unchanged(
        self, address: str, small: Path, tmp_path: Path
    ) -> None:
        """RELIABILITY 14: over a real protocol, there and back."""
        target = RemoteTarget(f"{address}/a/train.zarr", check=False)
        plan, moved = copy(small, target)
        assert sum(event.num_bytes for event in moved) == plan.whole_bytes
        there, here = open_store(f"{address}/a/train.zarr"), open_store(small)
        assert there.digest == plan.digest
        found, wanted = there.read(range(300, 900), k=5), here.read(range(300, 900), k=5)
        np.testing.assert_array_equal(found.logp_TK, wanted.logp_TK)
        copy(f"{address}/a/train.zarr", tmp_path / "back.zarr")
        assert same_store(small, tmp_path / "back.zarr")
        again, _ = copy(small, RemoteTarget(f"{address}/a/train.zarr", check=False))
        assert again.to_move == {}
        assert list(find_stores(f"{address}/a")) == ["train.zarr"]

    def test_part_is_pulled_and_completed(self, address: str, small: Path, tmp_path: Path) -> None:
        copy(small, RemoteTarget(f"{address}/b.zarr", check=False))
        plan, _ = copy(f"{address}/b.zarr", tmp_path / "b.zarr", K4)
        assert plan.num_bytes < 0.8 * plan.whole_bytes
        open_store(tmp_path / "b.zarr").read(range(99), k=4)
        copy(f"{address}/b.zarr", tmp_path / "b.zarr")
        assert same_store(small, tmp_path / "b.zarr")

    def test_push_leaves_another_store_and_other_files_untouched(
        self, address: str, small: Path, tmp_path: Path
    ) -> None:
        other = make_store(tmp_path / "dev.zarr", split="dev")
        copy(tmp_path / "dev.zarr", RemoteTarget(f"{address}/c.zarr", check=False))
        with pytest.raises(StoreMismatch, match=f"found {other[:12]}, wanted"):
            copy(small, RemoteTarget(f"{address}/c.zarr", check=False))
        with pytest.raises(StoreError, match="no copy that was begun"):
            copy(small, RemoteTarget(f"{address}/c.zarr/commits", check=False))

    def test_stopped_push_resumes(self, address: str, small: Path) -> None:
        source, place = open_source(small), f"{address}/d.zarr"
        records, digest = source.contents.records, source.contents.digest
        stopped = RemoteTarget(place, check=False)
        first = {name: records[name] for name in sorted(records)[:20]}
        stopped.begin(PartialCopy(source="here", digest=digest, kept=9, arrays={}), num_bytes=0)
        for name, record in first.items():
            stopped.write(name, record, source.pieces(name, record))
        with pytest.raises(StoreIncomplete):
            open_store(place)
        plan, _ = copy(source, RemoteTarget(place, check=False), careful=False)
        assert plan.there.keys() == first.keys()
        open_store(place).verify()
        assert RemoteTarget(place, check=False)._sizes().keys() == {
            *records,
            HEAD,
            f"manifest-{digest}.json",
        }

    def test_damaged_objects_are_not_sent(self, address: str, small: Path, tmp_path: Path) -> None:
        bad, place = tmp_path / "bad.zarr", f"{address}/f.zarr"
        shutil.copytree(small, bad)
        name = "val_1/c/0/0"
        (bad / name).write_bytes(bytes((bad / name).stat().st_size))
        with pytest.raises(StoreCorrupt, match=f"{name}.*was not copied"):
            copy(bad, RemoteTarget(place, check=False))
        there = RemoteTarget(place, check=False)
        assert there.head() is None
        assert name not in there._sizes()

    def test_damage_on_the_server_is_found_by_reading_back(self, address: str, small: Path) -> None:
        place, name = f"{address}/e.zarr", "ids_1/c/1/0"
        copy(small, RemoteTarget(place, check=False))
        self.overwrite(f"{place}/{name}", bytes((small / name).stat().st_size))
        easy, _ = copy(small, RemoteTarget(place, check=True), careful=False)
        assert easy.to_move == {}
        mended, _ = copy(small, RemoteTarget(place, check=True), careful=True)
        assert mended.to_move.keys() == {name}
        open_store(place).verify()

    def overwrite(self, url: str, content: bytes) -> None:
        raise NotImplementedError


@needs("s3fs", "moto", "flask")
class TestS3(Sharing):
    """S3, served by moto."""

    @pytest.fixture(scope="class")
    def address(self) -> Iterator[str]:
        with s3_server() as address:
            yield address

    def overwrite(self, url: str, content: bytes) -> None:
        import s3fs

        s3fs.S3FileSystem().pipe_file(url, content)


@needs("sshfs")
class TestSftp(Sharing):
    """SFTP, served by OpenSSH."""

    @pytest.fixture(scope="class")
    def address(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        folder = tmp_path_factory.mktemp("sshd")
        (folder / "data").mkdir()
        with sshd(folder) as address:
            yield f"{address}{folder}/data"

    def overwrite(self, url: str, content: bytes) -> None:
        Path("/" + url.split("/", 3)[3]).write_bytes(content)

    def test_unknown_host_is_refused(
        self, address: str, small: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setattr(remote_connection, "_shared", {})
        known = Path(os.environ["HOME"]) / ".ssh" / "known_hosts"
        kept = known.read_text()
        known.write_text("")
        try:
            with pytest.raises(StoreUnreachable, match="key in known_hosts"):
                open_source(f"{address}/a/train.zarr")
        finally:
            known.write_text(kept)


class TestMemory(Sharing):
    """fsspec's memory file system."""

    @pytest.fixture(scope="class")
    def address(self) -> Iterator[str]:
        import fsspec

        yield "memory://shared"
        fsspec.filesystem("memory").rm("memory://shared", recursive=True)

    def overwrite(self, url: str, content: bytes) -> None:
        import fsspec

        fsspec.filesystem("memory").pipe_file(url, content)


@pytest.fixture(scope="module")
def web(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """nginx serving the store: its port and its log."""
    folder = tmp_path_factory.mktemp("nginx")
    with nginx(store.parent, folder) as port:
        yield port, folder / "access.log"


@needs("aiohttp")
class TestNginx:
    """Debian's nginx, directly and over a connection that is lost."""

    def test_whole_and_part_are_pulled(
        self, web: tuple[int, Path], store: Path, tmp_path: Path
    ) -> None:
        """RELIABILITY 14: over HTTP."""
        url = f"http://127.0.0.1:{web[0]}"
        assert list(find_stores(url)) == ["train.zarr"]
        copy(f"{url}/train.zarr", tmp_path / "part.zarr", K4)
        open_store(tmp_path / "part.zarr").read(range(99), k=3)
        copy(f"{url}/train.zarr", tmp_path / "a.zarr")
        assert same_store(store, tmp_path / "a.zarr")

    def test_pull_requests_each_object_once(
        self, web: tuple[int, Path], store: Path, tmp_path: Path
    ) -> None:
        before = len(asked(web[1]))
        copy(f"http://127.0.0.1:{web[0]}/train.zarr", tmp_path / "a.zarr")
        names = Counter(asked(web[1])[before:])
        records = open_source(store).contents.records
        assert dict.fromkeys(records, 1) == {name: names[name] for name in records}

    def test_cut_connection_loses_what_was_in_flight(
        self, web: tuple[int, Path], store: Path, tmp_path: Path
    ) -> None:
        """RELIABILITY 14: after a loss at any byte the copy resumes to the same bytes."""
        for number, after in enumerate((20, 9_000, 40_000, 90_000, 120_000)):
            place = tmp_path / f"{number}.zarr"
            with link(web[0]) as wire:
                wire.bytes_left = after
                url = f"http://127.0.0.1:{wire.port}/train.zarr"
                with pytest.raises((StoreUnreachable, StoreCorrupt)):
                    copy(url, place)
                assert not (place / HEAD).exists()
                wire.bytes_left = 1 << 60
                whole, _ = copy(url, place)
                assert same_store(store, place)
                assert bool(whole.there) == (after > 80_000)  # before, metadata are read

    def test_pull_killed_at_any_moment_repeats_what_was_in_flight(
        self, web: tuple[int, Path], store: Path, tmp_path: Path
    ) -> None:
        """RELIABILITY 14: kill -9 repeatedly; the same bytes, nothing moved twice."""
        rng, place, threads = random.Random(5), tmp_path / "a.zarr", 3
        before, kills = len(asked(web[1])), 0
        with link(web[0]) as wire:
            wire.pause_seconds = 0.01
            command = [
                *(sys.executable, "-m", "essence", "cache", "pull"),
                *(f"http://127.0.0.1:{wire.port}/train.zarr", str(place)),
                *("--threads", str(threads)),
            ]
            for _ in range(20):
                pull = subprocess.Popen(
                    command,
                    cwd=ROOT,
                    env=os.environ | {"PYTHONPATH": str(ROOT)},
                    stdout=subprocess.DEVNULL,
                )
                wanted = num_files(place) + rng.randrange(20, 50)
                while pull.poll() is None and num_files(place) < wanted:
                    time.sleep(0.002)
                pull.send_signal(signal.SIGKILL)  # nothing, where it has ended
                if pull.wait(20) == 0:
                    break
                kills += 1
                assert (place / UNFINISHED).exists() or (place / HEAD).exists()
        assert kills >= 2
        assert same_store(store, place)
        frames = [
            name for name in asked(web[1])[before:] if re.match(r"(ids|val|tail)_\d/c/", name)
        ]
        assert len(frames) - len(set(frames)) <= kills * threads
        assert len(set(frames)) == 72


def num_files(root: Path) -> int:
    """Count the files below `root`, while others are created and removed."""
    return sum(len(names) for _, _, names in os.walk(root))


def asked(log: Path) -> list[str]:
    """Return the names, below the store, of all requests in the log."""
    return re.findall(r'"GET /train\.zarr/(\S+) HTTP/1.1" (?:200|206)', log.read_text())
