"""Several processes on one store: writers with equal content, with other content, readers."""

import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from storage.errors import EssenceError, StoreError, StoreIncomplete, StoreUnreachable
from storage.format.records import STAGE
from storage.read.reader import open_store
from storage.write.writer import StoreWriter
from tests.support.makers.store import (
    fill_store,
    make_about,
    make_block,
    make_utterances,
    shard_block,
    tree_digest,
)
from tests.support.stores import verified

LENGTHS = (9, 3, 11, 10, 2, 8, 12, 5)
ABOUT = make_about(num_classes=5, kept=2, shard_frames=12, chunk_frames=4)
SPAWN = multiprocessing.get_context("spawn")


def write_all(path: Path, barrier: Barrier, seed: int, backwards: bool) -> str:
    """Write and seal a store; return the digest or the error message."""
    barrier.wait()
    try:
        writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
        shards = range(writer.num_shards)
        for shard in reversed(shards) if backwards else shards:
            frames = sum(writer.utterances[row].num_frames for row in writer.shard(shard))
            writer.write_shard(shard, make_block(ABOUT, frames, seed=seed + shard))
        return writer.seal()
    except EssenceError as error:
        return f"{type(error).__name__}: {error}"


def race(path: Path, seeds: tuple[int, int]) -> list[str]:
    with SPAWN.Manager() as manager, SPAWN.Pool(2) as pool:
        barrier = manager.Barrier(2)
        work = [(path, barrier, seed, bool(index)) for index, seed in enumerate(seeds)]
        return pool.starmap(write_all, work, chunksize=1)


def test_two_processes_that_agree_make_one_store(tmp_path: Path) -> None:
    """RELIABILITY 10: both work, from both ends; no row is lost."""
    digest = fill_store(tmp_path / "alone.zarr", ABOUT, LENGTHS)
    said = race(tmp_path / "a.zarr", (0, 0))
    assert digest in said
    fill_store(tmp_path / "a.zarr", ABOUT, LENGTHS)
    assert tree_digest(tmp_path / "a.zarr") == tree_digest(tmp_path / "alone.zarr")
    assert said == [digest, digest]


def test_stage_that_vanishes_while_it_is_made_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 10: mkdir finds _stage, the other writer removes it before mkdir checks."""
    digest = fill_store(tmp_path / "alone.zarr", ABOUT, LENGTHS)
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    for shard in range(writer.num_shards):
        writer.write_shard(shard, shard_block(writer, shard))
    look, stages = Path.is_dir, []

    def is_dir(self: Path) -> bool:
        if self.name == STAGE and not stages:
            stages.append(self)
            assert fill_store(path, ABOUT, LENGTHS) == digest
            assert not self.exists()
        return look(self)

    monkeypatch.setattr(Path, "is_dir", is_dir)
    assert writer.seal() == digest
    assert stages == [path / STAGE]
    assert tree_digest(path) == tree_digest(tmp_path / "alone.zarr")


def test_stage_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / STAGE).write_bytes(b"")
    with pytest.raises(StoreError, match="File exists"):
        StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))


def test_two_processes_that_disagree_are_refused(tmp_path: Path) -> None:
    """RELIABILITY 10: the first commit of a shard wins; no shard mixes two writers' rows."""
    path = tmp_path / "a.zarr"
    said = race(path, (0, 100))
    assert any("was committed by another writer with other content" in text for text in said)
    found = verified(path, data=True, allow_unfinished=True)
    assert not found.problems
    store = open_store(path, allow_unfinished=True)
    for shard in set(range(store.num_shards)) - set(found.absent_shards):
        ids_TK = store.read_shard(shard, 2).ids_TK
        blocks = [make_block(ABOUT, len(ids_TK), seed=seed + shard) for seed in (0, 100)]
        assert sum((block.ids_TK == ids_TK).all() for block in blocks) == 1


def test_readers_during_a_build_see_all_or_an_error(tmp_path: Path) -> None:
    """RELIABILITY 12: read after every shard, and while another process writes."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    for done, shard in enumerate(range(writer.num_shards)):
        with pytest.raises(StoreIncomplete, match=rf"under construction \({done} shards"):
            open_store(path)
        writer.write_shard(shard, shard_block(writer, shard))
    digest = writer.seal()
    assert open_store(path).digest == digest

    other = tmp_path / "b.zarr"
    with SPAWN.Manager() as manager, SPAWN.Pool(1) as pool:
        barrier = manager.Barrier(2)
        build = pool.apply_async(write_all, (other, barrier, 0, False))
        barrier.wait()
        refused = looked = 0
        while not build.ready():
            looked += 1
            try:
                open_store(other).verify()
            except StoreError as error:
                assert "under construction" in str(error) or "is not there" in str(error)  # noqa: PT017
                refused += 1
        assert build.get() == digest
    assert refused
    assert looked >= refused
    open_store(other).verify()


def test_reader_of_an_unfinished_store_names_absent_shards(tmp_path: Path) -> None:
    """RELIABILITY 7: nothing absent reads as data."""
    path = tmp_path / "a.zarr"
    writer = StoreWriter.create(path, ABOUT, utterances=make_utterances(LENGTHS))
    writer.write_shard(2, shard_block(writer, 2))
    store = open_store(path, allow_unfinished=True)
    assert store.digest == ""
    assert store.absent_shards == tuple(i for i in range(writer.num_shards) if i != 2)
    assert (store.read_shard(2, 2).ids_TK == shard_block(writer, 2).ids_TK).all()
    for shard in store.absent_shards:
        with pytest.raises(StoreIncomplete, match=f"shard {shard} is not there yet"):
            store.read_shard(shard, 1)
    (path / "val_1" / "c" / "2" / "0").unlink()
    assert 2 in open_store(path, allow_unfinished=True).absent_shards


def test_folder_that_vanishes_while_it_is_listed_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 12: a writer that seals removes its stage, also one left by another writer."""
    path = tmp_path / "a.zarr"
    fill_store(path, ABOUT, LENGTHS)
    stage = path / "_stage"
    stage.mkdir()
    (path / "gone").mkdir()
    scan = os.scandir

    def scan_late(folder: str) -> object:
        for name in ("_stage", "gone"):
            if str(folder) == str(path / name):
                (path / name).rmdir()
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scan_late)
    open_store(path).verify()
    assert not (path / "gone").exists()
    assert stage.exists()  # was never listed


def test_folder_that_cannot_be_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RELIABILITY 13: a folder that cannot be read is not reported as sound."""
    path = tmp_path / "a.zarr"
    fill_store(path, ABOUT, LENGTHS)
    scan = os.scandir

    def refuse(folder: str) -> object:
        if str(folder).endswith("ids_0"):
            raise PermissionError(13, "Permission denied", str(folder))
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(StoreUnreachable, match="cannot be listed"):
        open_store(path).verify()
