"""Failures of the disk and the clock: full, power loss, errors that pass, wrong time."""

import ast
import datetime
import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from storage.errors import StoreCorrupt, StoreError, StoreUnreachable
from storage.files import object_file
from storage.format.layout import commit_name
from storage.read.reader import open_store
from storage.write import commit
from storage.write import writer as store_writer
from storage.write.writer import StoreWriter
from tests.support.makers.store import (
    fill_store,
    make_about,
    make_utterances,
    shard_block,
    tree_digest,
)
from tests.support.paths import ROOT

LENGTHS = (700, 0, 801, 333)
ABOUT = make_about(num_classes=500, kept=32, shard_frames=900, chunk_frames=300)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    fill_store(path, ABOUT, LENGTHS)
    return tree_digest(path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 400 kB, half of it taken by a ballast file."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    (place / "ballast").write_bytes(b"x" * 300_000)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_is_named_and_the_build_resumes_with_room(
    small_disk: Path, undisturbed: str
) -> None:
    """RELIABILITY 3: on a file system that is really full."""
    path = small_disk / "a.zarr"
    needed = r"No space left on device\): \d+ bytes are needed, \d+ are free"
    for _ in range(2):  # the second time meets what the first one left
        with pytest.raises(StoreError, match=needed):
            fill_store(path, ABOUT, LENGTHS)
    with pytest.raises(StoreError, match="under construction"):
        open_store(path)
    (small_disk / "ballast").unlink()
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == undisturbed


def test_file_size_limit_is_named_and_the_build_resumes_without_it(
    tmp_path: Path, undisturbed: str
) -> None:
    """RELIABILITY 3: RLIMIT_FSIZE, in a separate process."""
    code = (
        "import resource; from tests.storage.write.test_disk import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))\n"
        "try: fill_store(Path(sys.argv[1]), ABOUT, LENGTHS)\n"
        "except StoreError as error: print(error)\n"
    )
    path = tmp_path / "a.zarr"
    ran = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot be written (File too large)" in ran.stdout
    assert "bytes are needed" in ran.stdout
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == undisturbed


class PowerLoss:
    """A disk that keeps in the worst case only what was flushed: names in synced folders.

    Files are flushed before they get a name (write_and_sync), so a synced folder keeps its names
    with their present bytes. Every state after a flush is kept, for the test to check.
    """

    def __init__(self, top: Path) -> None:
        self.top = top
        self.durable: dict[Path, dict[str, bytes | None]] = {}  # None: a folder
        self.states: list[dict[Path, bytes]] = []

    def sync(self, folder: Path) -> None:
        self.durable[folder] = {
            path.name: None if path.is_dir() else path.read_bytes() for path in folder.iterdir()
        }
        self.states.append(dict(self._files(self.top)))

    def _files(self, folder: Path) -> Iterator[tuple[Path, bytes]]:
        for name, content in self.durable.get(folder, {}).items():
            if content is None:
                yield from self._files(folder / name)
            else:
                yield folder / name, content

    def restore(self, state: dict[Path, bytes]) -> None:
        shutil.rmtree(self.top)
        self.top.mkdir()
        for path, content in state.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def test_power_loss_leaves_committed_shards_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 2: power is cut after every second flush; unflushed data is lost."""
    about = make_about(num_classes=5, kept=1, shard_frames=12, chunk_frames=4)
    lengths = (5, 0, 6, 3)
    fill_store(tmp_path / "undisturbed.zarr", about, lengths)
    wanted = tree_digest(tmp_path / "undisturbed.zarr")
    disk = PowerLoss(tmp_path / "disk")
    disk.top.mkdir()
    path = disk.top / "a.zarr"
    with monkeypatch.context() as patch:
        for module in (commit, store_writer):
            patch.setattr(module, "sync_directory", disk.sync)
        fill_store(path, about, lengths)
    assert len(disk.states) > 40
    commits = []
    for state in [*disk.states[::2], disk.states[-1]]:
        disk.restore(state)
        if (path / "HEAD").exists():
            open_store(path).verify()
        writer = StoreWriter.create(path, about, utterances=make_utterances(lengths))
        commits.append(writer.num_shards - len(writer.missing_shards()))
        fill_store(path, about, lengths)
        assert tree_digest(path) == wanted
    assert commits == sorted(commits)  # what was committed stays committed
    assert commits[-1] == 2


def test_build_reads_no_clock(
    tmp_path: Path, undisturbed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 11: a clock ten years off that steps back at every call: the same bytes."""
    now = [time.time() + 10 * 365 * 86400.0]

    def step_back() -> float:
        now[0] -= 86400.0
        return now[0]

    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    monkeypatch.setattr(time, "time", step_back)
    monkeypatch.setattr(time, "time_ns", lambda: int(step_back() * 1e9))
    writer.write_shard(1, shard_block(writer, 1))
    for place in path.rglob("*"):
        os.utime(place, (0, 0))
    fill_store(path, ABOUT, LENGTHS)
    for place in path.rglob("*"):
        os.utime(place, (4e9, 4e9))
    assert tree_digest(path) == undisturbed
    open_store(path).verify()


def test_modules_of_storage_read_no_clock() -> None:
    """RELIABILITY 11: `time` is imported to pause only, `datetime` never.

    An outage of a server is measured on the monotonic clock, which no date changes.

    The cache of remote objects drops the least recently used one: with a wrong clock it
    fetches more, and no byte changes.
    """
    assert datetime  # the name that must not be imported there
    for source in (ROOT / "storage").rglob("*.py"):
        tree = ast.parse(source.read_text(encoding="utf-8"))
        used = {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        }
        names = {name for name in used if name.startswith(("time.", "datetime."))}
        may = {"time.sleep", "time.monotonic"} if source.name == "outage.py" else {"time.sleep"}
        assert names <= may, source
        if source.name == "object_cache.py":
            continue
        assert not any(name.endswith((".st_mtime", ".st_ctime", ".st_mtime_ns")) for name in used)


def flaky(call: Callable[..., Any], *, fails: int, number: int) -> Callable[..., Any]:
    """Wrap `call` so that its first `fails` calls raise a system error."""
    left = [fails]

    def wrapped(*args: Any, **options: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(number, os.strerror(number))
        return call(*args, **options)

    return wrapped


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    fill_store(tmp_path / "a.zarr", make_about(), (5, 20, 7))
    return tmp_path / "a.zarr"


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("call", ["open", "pread", "fstat"])
def test_passing_disk_errors_are_retried(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, number: int, call: str
) -> None:
    """RELIABILITY 13: two attempts fail, the third succeeds."""
    monkeypatch.setattr(object_file, "PAUSE_SECONDS", 0.0)
    store = open_store(sealed)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, flaky(getattr(os, call), fails=2, number=number))
        labels = store.read_shard(0, 7)
        open_store(sealed).verify()
    assert labels.num_frames == open_store(sealed).read_shard(0, 7).num_frames


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EIO, StoreCorrupt),
        (errno.ESTALE, StoreUnreachable),
        (errno.ENOTCONN, StoreUnreachable),
        (errno.EACCES, StoreUnreachable),
        (errno.ENODEV, StoreUnreachable),
    ],
)
def test_lasting_disk_errors_are_named(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreError]
) -> None:
    """RELIABILITY 13: unmounted, stale, no permission: retries, then an error with the name."""
    monkeypatch.setattr(object_file, "PAUSE_SECONDS", 0.0)
    store = open_store(sealed)
    monkeypatch.setattr(os, "pread", flaky(os.pread, fails=99, number=number))
    with pytest.raises(kind, match=r"a\.zarr/ids_0/c/0/0"):
        store.read_shard(0, 1)
    monkeypatch.setattr(os, "open", flaky(os.open, fails=99, number=number))
    with pytest.raises(kind, match=r"a\.zarr"):
        open_store(sealed)


def test_read_only_folder_is_named_and_nothing_is_half_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 13."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", flaky(os.replace, fails=999, number=errno.EROFS))
        with pytest.raises(StoreError, match="Read-only file system"):
            writer.write_shard(0, shard_block(writer, 0))
    assert not (path / commit_name(0)).exists()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
