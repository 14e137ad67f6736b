"""Repair follows no link: the link is taken out, and what it points to stays as it is."""

import os
import shutil
from pathlib import Path

import pytest

from storage.care.quarantine import QUARANTINE
from storage.care.repair import plan_repair, repair
from storage.errors import StoreError
from tests.storage.care.test_repair import refill
from tests.support.makers.store import fill_store, make_about, tree_digest

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

LENGTHS = (3, 0, 4, 9)
FOLDERS = ("val_0", "val_0/c", "val_0/c/1", "ids_0", "commits")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "a.zarr"
    about = make_about(num_classes=9, kept=1, shard_frames=10, chunk_frames=5)
    fill_store(path, about, LENGTHS)
    return path


@pytest.fixture
def pair(whole: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A store to be spoiled, and one that links lead to."""
    stores = [Path(shutil.copytree(whole, tmp_path / name)) for name in ("w.zarr", "other.zarr")]
    return stores[0], stores[1]


@pytest.mark.parametrize("name", FOLDERS)
def test_linked_folder_is_taken_out_and_not_followed(
    pair: tuple[Path, Path], whole: Path, name: str
) -> None:
    """RELIABILITY 22: nothing outside the store is changed."""
    path, other = pair
    shutil.rmtree(path / name)
    (path / name).symlink_to(os.path.relpath(other / name, (path / name).parent))
    plan = plan_repair(path)
    assert name in plan.out
    quarantine = repair(path, plan)
    assert tree_digest(other) == tree_digest(whole)
    assert (quarantine / name.replace("/", ".")).is_symlink()
    assert refill(path) == list(plan.damaged_shards)
    assert tree_digest(path) == tree_digest(whole)
    assert plan_repair(path).is_empty


@pytest.mark.parametrize("is_sealed", [True, False])
def test_linked_stage_is_taken_out_and_not_followed(
    pair: tuple[Path, Path], tmp_path: Path, whole: Path, *, is_sealed: bool
) -> None:
    path, _ = pair
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "program").write_text("x")
    (path / "_stage").symlink_to(outside)
    (path / "val_0" / "c" / "0" / "0").unlink()
    if not is_sealed:
        (path / "HEAD").unlink()
    quarantine = repair(path, plan_repair(path))
    assert [(entry.name, entry.read_text()) for entry in outside.iterdir()] == [("program", "x")]
    assert (quarantine / "_stage").is_symlink()
    assert refill(path) == [0]
    assert tree_digest(path) == tree_digest(whole)


@pytest.mark.parametrize("what", ["link", "file"])
def test_quarantine_that_is_no_folder_is_refused_before_anything_is_done(
    pair: tuple[Path, Path], tmp_path: Path, what: str
) -> None:
    path, _ = pair
    quarantine, outside = path.with_name(path.name + QUARANTINE), tmp_path / "outside"
    outside.mkdir()
    (path / "val_0" / "c" / "0" / "0").unlink()
    if what == "link":
        quarantine.symlink_to(outside)
    else:
        quarantine.write_text("x")
    before = tree_digest(path)
    with pytest.raises(StoreError, match=f"quarantine is a {what}, wanted a folder: move it away"):
        plan_repair(path)
    assert tree_digest(path) == before
    assert not list(outside.iterdir())


def test_quarantine_keeps_a_link_that_leads_nowhere(pair: tuple[Path, Path]) -> None:
    path, _ = pair
    for target in ("nowhere", "elsewhere"):
        shutil.rmtree(path / "val_0", ignore_errors=True)
        (path / "val_0").symlink_to(target)
        quarantine = repair(path, plan_repair(path))
        refill(path)
    found = {name: str((quarantine / name).readlink()) for name in ("val_0", "val_0.1")}
    assert found == {"val_0": "nowhere", "val_0.1": "elsewhere"}
