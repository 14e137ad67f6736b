"""Verify: every byte in a work directory is read, and what is not as it was written is named."""

import json
import os
import shutil
from pathlib import Path

import h5py
import pytest
import torch
from click.testing import CliRunner, Result

from pipeline.cli import main
from pipeline.shelf.verify import plan_work, verify_work
from stages.training.checkpoint import Position, write_checkpoint
from storage.format.layout import StoreUtterance
from storage.write.writer import StoreWriter
from tests.support.makers.house import House, make_early
from tests.support.makers.store import make_about, shard_block

UNREAD = ("speed.json",)


def verify(work: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["verify", str(work), *options])


@pytest.fixture
def house(sound: House, tmp_path: Path) -> House:
    return sound.copy(tmp_path / "house")


def test_sound_work_directory_is_read_whole(house: House) -> None:
    done = verify(house.work)
    assert done.exit_code == 0, done.output
    assert "damaged" not in done.stdout
    found = json.loads(verify(house.work, "--json").stdout)
    assert {entry["state"] for entry in found["entries"]} == {"sound"}
    assert {entry["name"] for entry in found["entries"]} == {
        path.name for path in house.work.iterdir() if not path.is_symlink()
    }
    files = [path for path in house.work.rglob("*") if path.is_file() and not path.is_symlink()]
    inside = [path for path in files if house.work / "report" not in path.parents]
    weighed = sum(path.stat().st_size for path in inside)
    # Records and lists are not counted, nor the first objects of stores, nor ends of corpus files.
    assert 0.8 * weighed < found["num_bytes"] <= weighed
    assert found["seconds"] > 0


def middle(path: Path) -> int:
    """A byte in the middle of a file; of a corpus file, in its features."""
    if path.suffix == ".h5":
        with h5py.File(path, "r") as file:
            return int(file["features"].id.get_chunk_info(0).byte_offset) + 5
    return path.stat().st_size // 2


def test_byte_flipped_in_any_file_is_named(house: House) -> None:
    """RELIABILITY 32."""
    files = [path for path in house.work.rglob("*") if path.is_file() and path.stat().st_size]
    for path in files:
        artefact = house.work / path.relative_to(house.work).parts[0]
        if artefact.is_symlink() or path.name in UNREAD:
            continue
        content, place = path.read_bytes(), middle(path)
        path.write_bytes(content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :])
        entry = [found for found in plan_work(house.work) if found[0] == artefact]
        (found,) = verify_work(entry, advance=lambda _: None)
        assert found.state == "damaged", path
        assert all(str(artefact) in problem for problem in found.problems), found.problems
        path.write_bytes(content)
    assert verify(house.work).exit_code == 0


def test_removed_file_is_named(house: House) -> None:
    removed = [house.all("student")[0] / "model.safetensors", house.all("corpus")[0] / "dev.h5"]
    for path in removed:
        path.unlink()
    shutil.rmtree(house.all("teacher")[0] / "dev.zarr")
    done = verify(house.work)
    assert done.exit_code == 3
    for path in (*removed, house.all("teacher")[0] / "dev.zarr"):
        assert f"damaged: {path} is missing" in done.stdout


def test_problems_of_one_artefact_are_all_named(house: House) -> None:
    (place, *_) = house.all("student")
    for name in ("metrics.jsonl", "model.json"):
        (place / name).write_text("{}")
    (place / "model.safetensors").write_bytes(b"")
    lines = [line for line in verify(house.work).stdout.splitlines() if "damaged: " in line]
    for name in ("metrics.jsonl", "model.json", "model.safetensors"):
        assert any(str(place / name) in line for line in lines), lines


def test_early_artefacts_are_sound_with_a_remark(house: House) -> None:
    for place in house.all("student"):
        make_early(place)
    done = verify(house.work)
    assert done.exit_code == 0, done.output
    assert "2 entries: made before digests of all files were recorded" in done.stdout
    (house.all("student")[0] / "model.safetensors").write_bytes(b"other")
    assert verify(house.work).exit_code == 3


def test_unlisted_files_and_other_entries_are_no_damage(house: House) -> None:
    (house.all("student")[0] / "notes.txt").write_text("mine")
    (house.work / "notes").mkdir()
    done = verify(house.work)
    assert done.exit_code == 0
    assert "not listed: notes.txt" in done.stdout
    assert any(line.split()[:3] == ["notes", "not", "checked"] for line in done.stdout.splitlines())


def test_odd_entries_are_named_and_not_waited_for(house: House) -> None:
    """Pipes, loops of links, a file where a folder should be, names that are no text."""
    (place, other) = house.all("student")
    (place / "made.json").unlink()
    os.mkfifo(place / "made.json")
    shutil.rmtree(other)
    other.write_text("no folder")
    (house.work / "loop").symlink_to("loop")
    Path(os.fsdecode(os.fsencode(house.work) + b"/odd-\xff\x1b[31m")).mkdir()
    done = verify(house.work)
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 3
    assert f"{place}/made.json cannot be read (not a regular file)" in done.stdout
    assert f"{other}/made.json cannot be read (Not a directory)" in done.stdout
    assert "\x1b" not in done.stdout
    assert verify(house.work, "--json").exit_code == 3


def test_what_is_under_construction_is_checked(house: House) -> None:
    partial = house.work / ("teacher-" + "0" * 12 + ".partial")
    partial.mkdir()
    about = make_about()
    rows = [StoreUtterance(id=str(n), num_frames=20, digest="d" * 64) for n in range(3)]
    writer = StoreWriter.create(partial / "train.zarr", about, utterances=rows)
    first, *rest = writer.missing_shards()
    assert rest
    writer.write_shard(first, shard_block(writer, first))
    write_checkpoint(partial, Position(), {"a": torch.ones(9)}, run="r")
    done = verify(house.work)
    assert done.exit_code == 4, done.output
    assert "damaged" not in done.stdout
    (tensors,) = partial.glob("checkpoint-*.safetensors")
    tensors.write_bytes(tensors.read_bytes()[:-1])
    done = verify(house.work)
    assert done.exit_code == 3
    assert str(tensors) in done.stdout


def test_cached_objects_are_compared_with_their_names(house: House) -> None:
    cache = house.work / "store-cache"
    cache.mkdir()
    (cache / ("0" * 64)).write_bytes(b"another object")
    done = verify(house.work)
    assert done.exit_code == 0  # it is fetched again
    assert "store-cache: 1 damaged objects: they are fetched again" in done.stdout


def test_missing_work_directory_is_an_error(tmp_path: Path) -> None:
    done = verify(tmp_path / "nowhere")
    assert done.exit_code == 1
    assert "is no directory: name a work directory" in done.stderr
