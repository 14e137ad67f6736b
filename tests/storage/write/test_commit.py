"""A build gives the same bytes after a kill at any step and next to other writers."""

import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from storage.errors import StoreCorrupt, StoreError
from storage.format.layout import commit_name
from storage.read.reader import open_store
from storage.write import commit
from storage.write.shard_commit import is_committed
from storage.write.writer import StoreWriter
from tests.support.makers.store import (
    fill_store,
    make_about,
    make_block,
    make_utterances,
    shard_block,
    tree_digest,
)

LENGTHS = (5, 0, 6, 3)
ABOUT = make_about(num_classes=5, kept=2, shard_frames=12, chunk_frames=4)


class Killed(BaseException):
    """The process was killed: no handler runs, no clean-up."""


class Mortal:
    """Passes disk-changing calls through up to the chosen one; from there every call raises."""

    def __init__(self, dies_at: int, *, torn: bool) -> None:
        self.calls = 0
        self.dies_at = dies_at
        self.torn = torn

    def wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def mortal(*args: Any, **options: Any) -> Any:
            self.calls += 1
            if self.calls >= self.dies_at:
                if self.torn and call.__name__ == "write_and_sync" and self.calls == self.dies_at:
                    path, content = args
                    path.write_bytes(content[: len(content) // 2])
                raise Killed
            return call(*args, **options)

        return mortal

    def enter(self, patch: pytest.MonkeyPatch) -> None:
        """Wrap every call by which commit.py changes a disk."""
        for name in ("write_and_sync", "sync_directory"):
            patch.setattr(commit, name, self.wrap(getattr(commit, name)))
        for name in ("replace", "link"):
            patch.setattr(os, name, self.wrap(getattr(os, name)))
        patch.setattr(commit.shutil, "rmtree", self.wrap(commit.shutil.rmtree))


def build_and_die(path: Path, dies_at: int, *, torn: bool) -> bool:
    """Return True if the build finished before the call at which it was to be killed."""
    with pytest.MonkeyPatch.context() as patch:
        Mortal(dies_at, torn=torn).enter(patch)
        try:
            fill_store(path, ABOUT, LENGTHS)
        except Killed:
            return False
    return True


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("undisturbed") / "a.zarr"
    fill_store(path, ABOUT, LENGTHS)
    return tree_digest(path)


def assert_not_half_read(path: Path) -> None:
    """Assert that a reader gets a whole store, or an error while HEAD is absent."""
    if not (path / "HEAD").exists():
        with pytest.raises(StoreError, match=r"is not there|under construction"):
            open_store(path)
    else:
        open_store(path).verify()


def kill_and_resume(folder: Path, undisturbed: str, *, first: int, step: int, torn: bool) -> int:
    """Kill at call `first`, `first` + `step`, ... until a build finishes. Return that number."""
    dies_at, ended = first, False
    while not ended:
        path = folder / f"{dies_at}.zarr"
        ended = build_and_die(path, dies_at, torn=torn)
        assert_not_half_read(path)
        fill_store(path, ABOUT, LENGTHS)
        assert tree_digest(path) == undisturbed, f"killed at call {dies_at}"
        dies_at += step
    return dies_at


@pytest.mark.parametrize(("first", "torn"), [(1, False), (5, True)])
def test_killed_writer_resumes_to_the_same_bytes(
    tmp_path: Path, undisturbed: str, first: int, torn: bool
) -> None:
    assert kill_and_resume(tmp_path, undisturbed, first=first, step=5, torn=torn) > 60


@pytest.mark.slow
@pytest.mark.parametrize("torn", [False, True])
def test_killed_writer_at_any_call_resumes_to_the_same_bytes(
    tmp_path: Path, undisturbed: str, torn: bool
) -> None:
    assert kill_and_resume(tmp_path, undisturbed, first=1, step=1, torn=torn) > 60


def test_killed_writer_finishes_after_many_kills(tmp_path: Path, undisturbed: str) -> None:
    """RELIABILITY 1."""
    path = tmp_path / "a.zarr"
    dies_at = 31
    while not build_and_die(path, dies_at, torn=True):
        dies_at += 17
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == undisturbed


def test_committed_shards_are_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    assert writer.missing_shards() == [0, 1]
    writer.write_shard(1, shard_block(writer, 1))
    assert StoreWriter.open(path).missing_shards() == [0]
    assert StoreWriter.create(
        path, ABOUT, utterances=make_utterances(LENGTHS)
    ).missing_shards() == [0]


def test_commit_that_was_not_installed_is_finished_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.write.commit.install", Mortal(1, torn=False).wrap(commit.install))
        with pytest.raises(Killed):
            writer.write_shard(0, shard_block(writer, 0))
    assert not (path / "ids_0" / "c" / "0" / "0").exists()
    resumed = StoreWriter.open(path)
    assert (path / "ids_0" / "c" / "0" / "0").exists()
    assert resumed.missing_shards() == [1]


def test_is_committed_installs_a_commit_that_was_not(tmp_path: Path) -> None:
    """As on a cluster: a worker's writer was opened before another worker was killed."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    assert not is_committed(path, 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.write.commit.install", Mortal(1, torn=False).wrap(commit.install))
        with pytest.raises(Killed):
            writer.write_shard(0, shard_block(writer, 0))
    assert is_committed(path, 0)
    assert (path / "ids_0" / "c" / "0" / "0").exists()


def test_shard_may_be_written_twice(tmp_path: Path, undisturbed: str) -> None:
    path = tmp_path / "a.zarr"
    fill_store(path, ABOUT, LENGTHS)
    writer = StoreWriter.open(path)
    writer.write_shard(0, shard_block(writer, 0))
    writer.seal()
    assert tree_digest(path) == undisturbed


def test_two_writers_that_agree_make_one_store(tmp_path: Path, undisturbed: str) -> None:
    path = tmp_path / "a.zarr"
    writers = [
        StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS)) for _ in range(2)
    ]
    for shard in (0, 1):
        for writer in writers:
            writer.write_shard(shard, shard_block(writer, shard))
    assert writers[0].seal() == writers[1].seal()
    assert tree_digest(path) == undisturbed


def test_many_writers_at_once_make_one_store(tmp_path: Path, undisturbed: str) -> None:
    """RELIABILITY 10: each writes every shard and seals, independently of the others."""
    path = tmp_path / "a.zarr"
    StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))

    def work(order: tuple[int, ...]) -> str:
        writer = StoreWriter.open(path)
        for shard in order:
            writer.write_shard(shard, shard_block(writer, shard))
        return writer.seal()

    with ThreadPoolExecutor(max_workers=3) as pool:
        digests = set(pool.map(work, [(0, 1), (1, 0), (0, 1)]))
    assert len(digests) == 1
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == undisturbed


def test_two_writers_that_disagree_are_refused(tmp_path: Path, undisturbed: str) -> None:
    """RELIABILITY 10."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    writer.write_shard(0, shard_block(writer, 0))
    with pytest.raises(StoreError, match=r"shard 0 was committed by another .*ids_0/c/0/0"):
        writer.write_shard(0, make_block(ABOUT, 11, seed=99))
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == undisturbed


def test_committed_object_that_vanished_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    for shard in (0, 1):
        writer.write_shard(shard, shard_block(writer, shard))
    (path / "val_1" / "c" / "1" / "0").unlink()
    with pytest.raises(StoreCorrupt, match="val_1/c/1/0 was committed and is missing"):
        writer.seal()
    with pytest.raises(StoreCorrupt, match="val_1/c/1/0 was committed and is missing"):
        StoreWriter.open(path)


def test_metadata_that_changed_during_the_build_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    place = path / "ids_1" / "zarr.json"
    place.write_bytes(place.read_bytes().replace(b"65535", b"65534"))
    with pytest.raises(StoreCorrupt, match=r"ids_1/zarr\.json differs from what was written"):
        StoreWriter.open(path)


def test_write_that_did_nothing_is_found_before_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: str
) -> None:
    """RELIABILITY 9."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))

    def lie(place: Path, content: bytes) -> None:
        place.write_bytes(b"\0" * len(content))

    with monkeypatch.context() as patch:
        patch.setattr(commit, "write_and_sync", lie)
        with pytest.raises(StoreCorrupt, match="returned other bytes than were written"):
            writer.write_shard(0, shard_block(writer, 0))
    assert writer.missing_shards() == [0, 1]
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == undisturbed


def test_full_disk_is_named_and_the_build_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: str
) -> None:
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))

    def full(place: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(commit, "write_and_sync", full)
        with pytest.raises(StoreError, match=r"No space left on device\): \d+ bytes are needed"):
            writer.write_shard(0, shard_block(writer, 0))
    assert not (path / commit_name(0)).exists()
    fill_store(path, ABOUT, LENGTHS)
    assert tree_digest(path) == undisturbed


def test_disk_without_hard_links_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = StoreWriter.create(tmp_path / "a.zarr", ABOUT, utterances=make_utterances(LENGTHS))

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(StoreError, match="has no hard links"):
        writer.write_shard(0, shard_block(writer, 0))


def test_shard_without_frames_has_a_commit_and_no_objects(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    fill_store(path, ABOUT, (0, 0))
    store = open_store(path)
    store.verify()
    assert store.num_frames == 0
    assert store.read_shard(0, 2).ids_TK.shape == (0, 2)
    assert store.read([row.id for row in store.utterances], k=1).tail_T.shape == (0,)


def test_commit_comes_after_its_objects_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 2: payload, its directory, the link, the link's directory, then names."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    steps: list[str] = []

    def noted(name: str, call: Callable[..., Any], place: Callable[..., str]) -> None:
        def wrapped(*args: Any) -> Any:
            steps.append(f"{name} {place(*args)}")
            return call(*args)

        monkeypatch.setattr(os, name, wrapped)

    def relative(target: str | Path) -> str:
        return Path(target).resolve().relative_to(path).as_posix()

    noted("fsync", os.fsync, lambda handle: relative(f"/proc/self/fd/{handle}"))
    noted("link", os.link, lambda _, target: relative(target))
    noted("replace", os.replace, lambda _, target: relative(target))
    writer.write_shard(0, shard_block(writer, 0))

    link = steps.index("link commits/00000000.json")
    written = [step for step in steps[:link] if step.startswith("fsync _stage/")]
    assert len(written) == 6 + 1  # three arrays of each tier, and the record
    staged = [index for index, step in enumerate(steps) if step == "fsync _stage"]
    named = [i for i, s in enumerate(steps) if s.startswith("replace ") and "_stage" not in s]
    assert max(steps.index(step) for step in written) < max(staged) < link
    assert link < steps.index("fsync commits") < min(named)
    assert len(named) == 6
    assert "fsync ids_0/c/0" in steps[max(named) :]
    assert "fsync tail_1/c" in steps[max(named) :]
