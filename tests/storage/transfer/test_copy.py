"""Copying a store: which objects are copied, in which order, and what is refused."""

import os
import runpy
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from storage.care.repair import plan_repair
from storage.contents.manifest import read_manifest
from storage.contents.part import read_part
from storage.errors import (
    StoreCorrupt,
    StoreError,
    StoreIncomplete,
    StoreMismatch,
    StorePartial,
)
from storage.format.partial_copy import PART, UNFINISHED
from storage.format.records import HEAD, ObjectRecord
from storage.place.local_folder import LocalFolder
from storage.read.reader import open_store
from storage.transfer import local_target
from storage.transfer.copy import carry_out, choose, survey
from storage.transfer.local_target import LocalTarget
from storage.transfer.plan import EVERYTHING, Selection
from storage.transfer.source import open_source
from storage.write.top_k import keep_top_k
from storage.write.writer import StoreWriter
from tests.support.makers.store import make_about, make_utterances
from tests.support.makers.transfer import KEPT, copy, files_of, make_store, same_store
from tests.support.paths import ROOT
from tests.support.stores import verified

BENCHMARKS = ROOT / "benchmarks"
K4 = Selection(ks=(4,))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed store; tests do not change it."""
    path = tmp_path_factory.mktemp("source") / "train.zarr"
    make_store(path)
    return path


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return tmp_path / "copy" / "train.zarr"


def arrays_of(root: Path) -> set[tuple[str, int]]:
    """Return (array, shard) of every shard object in the folder."""
    names = (path.relative_to(root).parts for path in root.glob("*_*/c/**/*") if path.is_file())
    return {(parts[0], int(parts[2])) for parts in names}


def test_copy_is_the_same_and_verifies(store: Path, copied: Path) -> None:
    """RELIABILITY 14: every object is compared with the manifest; no other file is left."""
    plan, moved = copy(store, copied)
    assert same_store(store, copied)
    assert not (copied / "_stage").exists()
    assert verified(copied, data=True).problems == ()
    assert sum(event.num_bytes for event in moved) == plan.num_bytes == plan.whole_bytes
    assert sorted(event.name for event in moved if event.is_whole) == sorted(plan.to_move)


def test_copy_does_not_move_what_is_there(store: Path, copied: Path) -> None:
    copy(store, copied)
    before = {path: path.stat().st_ino for path in copied.rglob("*") if path.is_file()}
    plan, moved = copy(store, copied)
    assert (plan.to_move, moved) == ({}, [])
    assert before == {path: path.stat().st_ino for path in copied.rglob("*") if path.is_file()}


def test_copy_mends_damaged_objects(store: Path, copied: Path) -> None:
    copy(store, copied)
    (copied / "ids_1/c/2/0").write_bytes(bytes((copied / "ids_1/c/2/0").stat().st_size))
    (copied / "val_0/c/1/0").unlink()
    plan, _ = copy(store, copied)
    assert plan.to_move.keys() == {"ids_1/c/2/0", "val_0/c/1/0"}
    assert same_store(store, copied)


def test_copy_of_four_ranks_moves_the_tiers_up_to_four_and_one_tail(
    store: Path, copied: Path
) -> None:
    copy(store, copied, K4)
    wanted = {"ids_0", "val_0", "ids_1", "val_1", "tail_1"}
    assert arrays_of(copied) == {(name, shard) for name in wanted for shard in range(4)}
    here, there = open_store(copied), open_store(store)
    assert here.digest == there.digest
    for k in (2, 4):
        found, expected = here.read(range(1324), k=k), there.read(range(1324), k=k)
        np.testing.assert_array_equal(found.ids_TK, expected.ids_TK)
        np.testing.assert_array_equal(found.logp_TK, expected.logp_TK)
        np.testing.assert_array_equal(found.tail_T, expected.tail_T)


@pytest.mark.parametrize(("k", "command"), [(1, "--k 1 "), (5, "--k 5 "), (KEPT, "--k 40 ")])
def test_missing_rank_is_named_with_the_command_that_brings_it(
    store: Path, copied: Path, k: int, command: str
) -> None:
    copy(store, copied, K4)
    with pytest.raises(StorePartial, match=command) as caught:
        open_store(copied).read(range(9), k=k)
    assert f"{store} {copied}" in str(caught.value)


def test_missing_shard_is_named(store: Path, copied: Path) -> None:
    copy(store, copied, Selection(ks=(4,), shards=((1, 1), (3, 3))))
    opened = open_store(copied)
    assert arrays_of(copied) == {(array, s) for array, _ in arrays_of(copied) for s in (1, 3)}
    opened.read(opened.shard_frames(1), k=4)
    opened.read(opened.shard_frames(3), k=4)
    with pytest.raises(StorePartial, match="pull --k 4 --shards 2 "):
        opened.read(opened.shard_frames(2), k=4)
    with pytest.raises(StorePartial, match=r"without k=7 of shards 3: .* --k 7 --shards 1,3 "):
        opened.read(opened.shard_frames(3), k=7)


def test_copy_adds_what_is_missing_and_leaves_what_is_there(store: Path, copied: Path) -> None:
    copy(store, copied, Selection(ks=(4,), shards=((0, 0), (2, 2))))
    plan, _ = copy(store, copied, Selection(ks=(8,), shards=((2, 3),)))
    moved = {name for name in plan.to_move if not name.startswith("commits/")}
    new = {f"ids_{t}/c/3/0" for t in range(3)} | {f"val_{t}/c/3/0" for t in range(3)}
    assert moved == new | {"ids_2/c/2/0", "val_2/c/2/0", "tail_2/c/2", "tail_2/c/3"}
    part = read_part(LocalFolder(copied))
    assert part is not None
    assert part.arrays["ids_1"] == ((0, 0), (2, 3))
    assert part.arrays["tail_1"] == ((0, 0), (2, 2))
    opened = open_store(copied)
    opened.read(opened.shard_frames(0), k=4)
    opened.read(opened.shard_frames(2), k=3)
    opened.read(opened.shard_frames(3), k=8)
    assert verified(copied, data=True).problems == ()
    copy(store, copied)
    assert read_part(LocalFolder(copied)) is None
    assert same_store(store, copied)


def test_partial_copy_names_what_is_missing_and_is_not_repaired(store: Path, copied: Path) -> None:
    copy(store, copied, K4)
    found = verified(copied, data=True)
    assert (found.problems, found.num_left_out) == ((), 4 * (2 * 4 + 5))
    open_store(copied).verify()
    with pytest.raises(StoreError, match="is a partial copy"):
        plan_repair(copied)
    (copied / "ids_1/c/2/0").unlink()
    assert [p.name for p in verified(copied, data=False).problems] == ["ids_1/c/2/0"]
    with pytest.raises(StoreCorrupt, match="ids_1/c/2/0"):
        open_store(copied).read(range(1324), k=4)


def test_stopped_addition_leaves_a_sound_store(store: Path, copied: Path) -> None:
    copy(store, copied, K4)
    source, target = open_source(store), LocalTarget(copied)
    plan = survey(source, target, choose(source, target, EVERYTHING), careful=True)
    events = carry_out(plan, source, target, num_threads=1)
    for event in events:
        if event.is_whole and event.name.startswith("ids_3"):
            events.close()
    assert (copied / "ids_3/c/0/0").exists()
    assert verified(copied, data=True).problems == ()
    open_store(copied).read(range(9), k=4)
    (copied / "ids_3/c/0/0").write_bytes(b"damage")  # it is not promised yet, and is looked at
    assert [found.name for found in verified(copied, data=False).problems] == ["ids_3/c/0/0"]
    copy(store, copied)
    assert same_store(store, copied)


def test_partial_copy_is_copied_as_far_as_it_goes(store: Path, tmp_path: Path) -> None:
    copy(store, tmp_path / "k4.zarr", K4)
    with pytest.raises(StorePartial, match=f"pull from {store}"):
        copy(tmp_path / "k4.zarr", tmp_path / "all.zarr")
    copy(tmp_path / "k4.zarr", tmp_path / "k4b.zarr", K4)
    assert arrays_of(tmp_path / "k4.zarr") == arrays_of(tmp_path / "k4b.zarr")


class Cut(Exception):
    """Raised in place of a broken connection."""


def cut_after(num_objects: int) -> type[LocalTarget]:
    """Return a target class that fails while writing the object after `num_objects`."""

    class Cutting(LocalTarget):
        written: tuple[str, ...] = ()

        def write(self, name: str, record: ObjectRecord, pieces: Iterable[bytes]) -> None:
            if len(self.written) == num_objects:
                list(pieces)
                raise Cut
            super().write(name, record, pieces)
            Cutting.written += (name,)

        def seal(self, *args: object) -> None:
            raise Cut

    return Cutting


@pytest.mark.parametrize("selection", [EVERYTHING, K4])
def test_copy_cut_anywhere_resumes_and_moves_nothing_twice(
    store: Path, tmp_path: Path, selection: Selection
) -> None:
    """RELIABILITY 14: without HEAD it is unfinished; the same bytes in the end."""
    copy(store, tmp_path / "whole.zarr", selection)
    num_objects = len(open_source(store).contents.records)
    for number, after in enumerate((0, 1, 17, 40, num_objects)):
        place = tmp_path / f"{number}.zarr"
        place.mkdir()
        target = cut_after(after)(place)
        with pytest.raises(Cut):
            copy(store, target, selection, num_threads=1)
        with pytest.raises(StoreIncomplete, match=f"not finished: .*from {store} again"):
            open_store(place)
        left = {name for name in files_of(place) if name.startswith("_stage/")}
        assert len(left - {UNFINISHED}) <= 1
        plan, _ = copy(store, place, selection)
        assert plan.there.keys() == set(target.written)
        assert same_store(tmp_path / "whole.zarr", place)


def test_part_file_is_written_after_what_it_lists(
    store: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    replace = os.replace

    def watched(beside: Path, place: Path) -> None:
        order.append(Path(place).relative_to(copied).as_posix())
        replace(beside, place)

    monkeypatch.setattr(os, "replace", watched)
    copy(store, copied, K4)
    places = [name for name in order if not name.startswith("_stage/")]
    digest = (copied / HEAD).read_text().strip()
    assert places[-3:] == [f"manifest-{digest}.json", PART, HEAD]
    assert places.index("zarr.json") < len(places) - 3
    assert order[0].startswith(UNFINISHED)


class TestDestination:
    """The destination holds this store or a part of it; anything else is left unchanged."""

    def test_copy_leaves_another_store_untouched(self, store: Path, copied: Path) -> None:
        other = make_store(copied, split="dev")
        before = files_of(copied)
        with pytest.raises(StoreMismatch, match=f"found {other[:12]}, wanted"):
            copy(store, copied)
        assert files_of(copied) == before

    def test_copy_leaves_the_unfinished_copy_of_another_store_untouched(
        self, store: Path, copied: Path, tmp_path: Path
    ) -> None:
        make_store(tmp_path / "dev.zarr", split="dev")
        copied.mkdir(parents=True)
        with pytest.raises(Cut):
            copy(tmp_path / "dev.zarr", cut_after(3)(copied))
        with pytest.raises(StoreMismatch, match="holds another store"):
            copy(store, copied)

    def test_copy_leaves_a_store_under_construction_untouched(
        self, store: Path, copied: Path
    ) -> None:
        make_store(copied)
        (copied / HEAD).unlink()
        with pytest.raises(StoreError, match="no copy that was begun"):
            copy(store, copied)

    def test_copy_leaves_a_folder_with_other_files_untouched(
        self, store: Path, copied: Path
    ) -> None:
        copied.mkdir(parents=True)
        (copied / "thesis.tex").write_text("x")
        with pytest.raises(StoreError, match="no copy that was begun"):
            copy(store, copied)
        with pytest.raises(StoreError, match="is no folder"):
            copy(store, LocalTarget(copied / "thesis.tex"))

    def test_two_copies_at_a_time_are_refused(self, store: Path, copied: Path) -> None:
        with LocalTarget(copied).locked(), pytest.raises(StoreError, match="another process"):
            copy(store, copied)

    def test_links_in_the_target_are_refused(
        self, store: Path, copied: Path, tmp_path: Path
    ) -> None:
        """RELIABILITY 22: nothing is written through a link."""
        copy(store, copied)
        (tmp_path / "elsewhere").mkdir()
        shutil.rmtree(copied / "ids_0")
        (copied / "ids_0").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StoreError, match="ids_0 is a link"):
            copy(store, copied)
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_full_disk_is_named_before_anything_is_copied(
        self, store: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        usage = shutil.disk_usage(copied.parent.parent)._replace(free=1000)
        monkeypatch.setattr(local_target.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(StoreError, match="1,000 are free: make room"):
            copy(store, copied)
        assert files_of(copied) == {}


class TestSource:
    """The source must be a sealed store with the expected digest."""

    def test_unsealed_store_is_refused(self, store: Path, copied: Path, tmp_path: Path) -> None:
        shutil.copytree(store, tmp_path / "open.zarr")
        (tmp_path / "open.zarr" / HEAD).unlink()
        with pytest.raises(StoreIncomplete, match="under construction"):
            copy(tmp_path / "open.zarr", copied)
        assert not copied.exists()

    def test_damage_is_never_copied(self, store: Path, copied: Path, tmp_path: Path) -> None:
        """RELIABILITY 14: an object that differs from the manifest gets no name."""
        bad = Path(shutil.copytree(store, tmp_path / "bad.zarr"))
        for name in ("ids_2/c/1/0", "tail_0/c/3", "commits/00000002.json"):
            content = (bad / name).read_bytes()
            wrongs = (b"\1" + content[1:], content[:-1], content + b"\n", b"")
            for number, wrong in enumerate(wrongs):
                copied = tmp_path / f"{number}-{name.replace('/', '.')}.zarr"
                (bad / name).write_bytes(wrong)
                with pytest.raises(StoreCorrupt, match=f"{bad}.*{name}.*was not copied"):
                    copy(bad, copied)
                assert not (copied / name).exists()
                assert not (copied / HEAD).exists()
            (bad / name).write_bytes(content)
        copy(bad, copied)
        assert same_store(store, copied)

    def test_links_in_the_source_are_not_followed(
        self, store: Path, copied: Path, tmp_path: Path
    ) -> None:
        """RELIABILITY 22: only plain files of an untrusted folder are read."""
        bad = Path(shutil.copytree(store, tmp_path / "bad.zarr"))
        (bad / "tail_0/c/0").unlink()
        (bad / "tail_0/c/0").symlink_to(store / "tail_0/c/0")
        with pytest.raises(StoreCorrupt, match="tail_0/c/0"):
            copy(bad, copied)

    def test_only_the_expected_digest_is_taken(self, store: Path) -> None:
        digest = (store / HEAD).read_text().strip()
        assert open_source(store, expect=("0" * 64, digest)).contents.digest == digest
        with pytest.raises(StoreMismatch, match=f"found the store {digest}, expected {'0' * 64}"):
            open_source(store, expect=("0" * 64,))

    def test_ranks_and_shards_that_the_store_lacks_are_refused(
        self, store: Path, copied: Path
    ) -> None:
        with pytest.raises(StoreError, match="holds K=40, asked k=41"):
            copy(store, copied, Selection(ks=(41,)))
        with pytest.raises(StoreError, match=r"shards 0 to 3, asked 2-4"):
            copy(store, copied, Selection(shards=((2, 4),)))


@pytest.mark.parametrize("program", [["cp", "-r"], ["rsync", "-a"]], ids=["cp", "rsync"])
def test_plain_copy_verifies(store: Path, tmp_path: Path, program: list[str]) -> None:
    """RELIABILITY 14: a store is plain files, copied in any order."""
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    subprocess.run([*program, str(store), str(tmp_path)], check=True)
    assert verified(tmp_path / "train.zarr", data=True).problems == ()
    assert same_store(store, tmp_path / "train.zarr")


def test_part_file_is_untrusted(store: Path, copied: Path) -> None:
    """RELIABILITY 24: a malformed part.json raises a StoreError."""
    copy(store, copied, K4)
    good = (copied / PART).read_bytes()
    for wrong in (
        b"",
        b"[]",
        good.replace(b'"kept":40', b'"kept":0'),
        good.replace(b"[[0,3]]", b"[[0,3e9]]"),
        good.replace(b"[[0,3]]", b"[[0]]"),
        good.replace(b'"format_version":1', b'"format_version":2'),
        good.replace(b'"source":"', b'"source":"\\u001b[2J'),
        good.replace(b'"manifest":"', b'"manifest":"' + b"0" * 64 + b'","was":"'),
        good[:-40],
    ):
        assert wrong != good
        (copied / PART).write_bytes(wrong)
        with pytest.raises(StoreCorrupt, match=PART):
            verified(copied, data=False)
    (copied / PART).write_bytes(good.replace(b"[[0,3]]", b"[[0,4294967296]]"))
    assert verified(copied, data=False).problems == ()


def test_manifest_lists_what_is_copied(store: Path) -> None:
    contents = open_source(store).contents
    assert contents.records == read_manifest(LocalFolder(store), contents.digest).records


def test_copy_of_4_of_32_ranks_is_at_most_17_percent_of_the_bytes(tmp_path: Path) -> None:
    about = make_about(num_classes=3000, kept=32, shard_frames=16384, chunk_frames=8192)
    writer = StoreWriter.create(tmp_path / "a.zarr", about, utterances=make_utterances([512] * 64))
    made = runpy.run_path(str(BENCHMARKS / "realistic_posteriors.py"))["realistic_posteriors"]
    logp_TC = np.concatenate(list(made(32768, 3000, seed=1)))
    for shard in writer.missing_shards():
        rows_TC = logp_TC[shard * 16384 : (shard + 1) * 16384]
        writer.write_shard(shard, keep_top_k(rows_TC, 32, tiers=about.tiers, temperatures=()))
    writer.seal()
    plan, moved = copy(tmp_path / "a.zarr", tmp_path / "b.zarr", K4)
    assert 0.1 < sum(event.num_bytes for event in moved) / plan.whole_bytes <= 0.17
