"""Repair: any damaged object is restored to the same bytes, or repair is refused."""

import shutil
from pathlib import Path

import pytest

from storage.care.quarantine import QUARANTINE
from storage.care.repair import plan_repair, repair
from storage.errors import StoreCorrupt, StoreError
from storage.read.reader import open_store
from storage.write.writer import StoreWriter
from tests.support.makers.store import fill_store, make_about, shard_block, tree_digest
from tests.support.stores import verified

LENGTHS = (3, 0, 4, 9)
TELL_WHAT_IT_IS = ("zarr.json", "utterances/")  # these cannot be repaired


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    about = make_about(num_classes=9, kept=1, shard_frames=10, chunk_frames=5)
    fill_store(path, about, LENGTHS)
    return path


def names_of(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def refill(path: Path) -> list[int]:
    """Write the missing shards, as 'essence teacher' does. Return their numbers."""
    writer = StoreWriter.open(path)
    missing = writer.missing_shards()
    for shard in missing:
        writer.write_shard(shard, shard_block(writer, shard))
    writer.seal()
    return missing


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 2
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def link(path: Path) -> None:
    outside = path.parent / f"{path.name}.outside"
    path.rename(outside)
    path.symlink_to(outside)


@pytest.mark.parametrize("spoil", [flip, cut, link, Path.unlink], ids=lambda f: f.__name__)
def test_repair_makes_damaged_objects_again_or_refuses(
    whole: Path, tmp_path: Path, spoil: object
) -> None:
    """RELIABILITY 8: repair recomputes or quarantines, never invents."""
    assert callable(spoil)
    for number, name in enumerate(names_of(whole)):
        path = Path(shutil.copytree(whole, tmp_path / f"{number}.zarr"))
        spoil(path / name)
        if name.startswith(TELL_WHAT_IT_IS) and not name.endswith("/zarr.json"):
            with pytest.raises(StoreError, match=r"cannot be repaired|under construction"):
                plan_repair(path)
            continue
        plan = plan_repair(path)
        if name != "HEAD" or spoil is not Path.unlink:
            assert not plan.is_empty, name
        repair(path, plan)
        if plan.damaged_shards:
            with pytest.raises(StoreError, match="under construction"):
                open_store(path)
        assert refill(path) == list(plan.damaged_shards)
        assert len(plan.damaged_shards) == (name[-1] in "01" or name.startswith("commits/")), name
        assert tree_digest(path) == tree_digest(whole), name
        assert plan_repair(path).is_empty


def test_repair_leaves_a_sound_store_as_it_is(whole: Path) -> None:
    plan = plan_repair(whole)
    assert plan.is_empty
    assert not whole.with_name(whole.name + QUARANTINE).exists()


def test_repair_finds_a_commit_record_with_a_wrong_chunk(whole: Path, tmp_path: Path) -> None:
    """Without HEAD only the objects themselves show that a record is wrong."""
    path = Path(shutil.copytree(whole, tmp_path / "a.zarr"))
    (path / "HEAD").unlink()
    place = path / "commits" / "00000001.json"
    text = place.read_text()
    at = text.index('"chunks":[') + len('"chunks":[')
    place.write_text(text[:at] + str((int(text[at]) + 1) % 9 or 1) + text[at + 1 :])
    assert plan_repair(path).damaged_shards == (1,)


def test_repair_keeps_what_was_taken_out(whole: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(whole, tmp_path / "a.zarr"))
    for _ in range(2):
        cut(path / "val_0" / "c" / "0" / "0")
        quarantine = repair(path, plan_repair(path))
        refill(path)
    names = {place.name for place in quarantine.iterdir()}
    assert {"val_0.c.0.0", "val_0.c.0.0.1"} <= names
    assert verified(path, data=True).problems == ()


def test_repair_leaves_other_folders_untouched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(StoreError):
        plan_repair(tmp_path)
    with pytest.raises(StoreError):
        plan_repair(tmp_path / "absent")
    assert names_of(tmp_path) == ["notes.txt"]


def test_repair_refuses_commits_without_metadata(whole: Path, tmp_path: Path) -> None:
    """Shards without the store's attributes may belong to another store."""
    path = Path(shutil.copytree(whole, tmp_path / "a.zarr"))
    (path / "zarr.json").unlink()
    with pytest.raises(StoreCorrupt, match="committed shards and no zarr"):
        StoreWriter.create(path, open_store(whole).about, utterances=open_store(whole).utterances)
