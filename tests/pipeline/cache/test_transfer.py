"""essence cache push | pull: what they print, what they refuse, exit codes."""

import json
import shlex
import shutil
from pathlib import Path

import pytest

from pipeline.cache.commands import DAMAGED, UNDER_CONSTRUCTION
from storage.format.records import HEAD
from tests.support.makers.cache import cache
from tests.support.makers.transfer import make_store, same_store

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two stores and a file; tests do not change it."""
    path = tmp_path_factory.mktemp("work") / "teacher-1"
    path.mkdir()
    make_store(path / "train.zarr")
    make_store(path / "dev.zarr", split="dev")
    (path / "summary.json").write_text("{}")
    return path


def test_folder_is_pushed_and_pulled_store_by_store(teacher: Path, tmp_path: Path) -> None:
    pushed = cache("push", teacher, (tmp_path / "pushed").as_uri())
    assert pushed.exit_code == 0
    assert pushed.stdout.count("moved 140,") == 2
    pulled = cache("pull", f"{tmp_path / 'pushed'}/", tmp_path / "pulled", "--splits", "train")
    assert pulled.exit_code == 0
    assert [path.name for path in (tmp_path / "pulled").iterdir()] == ["train.zarr"]
    assert same_store(teacher / "train.zarr", tmp_path / "pulled" / "train.zarr")
    assert same_store(teacher / "dev.zarr", tmp_path / "pushed" / "dev.zarr")


def test_dry_run_of_pull_prints_the_figures_of_a_run_and_copies_nothing(
    teacher: Path, tmp_path: Path
) -> None:
    words = ("pull", teacher / "train.zarr", tmp_path / "a.zarr", "--k", "4", "--json")
    (planned,) = json.loads(cache(*words, "--dry-run").stdout)
    assert not (tmp_path / "a.zarr").exists()
    (done,) = json.loads(cache(*words).stdout)
    names = ("moved_objects", "moved_bytes", "there_objects", "whole_bytes", "digest")
    assert [planned[name] for name in names] == [done[name] for name in names]
    assert (planned["done"], done["done"], done["is_partial"]) == (False, True, True)
    (again,) = json.loads(cache(*words, "--dry-run").stdout)
    assert (again["moved_bytes"], again["there_bytes"]) == (0, done["moved_bytes"])


def test_partial_copy_is_described_by_info_and_verify(teacher: Path, tmp_path: Path) -> None:
    place = tmp_path / "a.zarr"
    cache("pull", teacher / "train.zarr", place, "--k", "1,8", "--shards", "0-1,3")
    info = cache("info", place).stdout
    assert "which serves k = 1 (shards 0-1,3), k = 5 to 8 (shards 0-1,3); " in info
    part = json.loads(cache("info", "--json", place).stdout)["part"]
    assert part["readable"] == [["1", "0-1,3"], ["5-8", "0-1,3"]]
    assert part["source"] == str(teacher / "train.zarr")
    verified = cache("verify", "--data", place)
    assert verified.exit_code == 0
    assert "a partial copy: 48 objects of the store are left out" in verified.stdout
    shown = cache("show", place, "../ütt/0", "--k", "12", "--out", tmp_path / "a.png")
    assert shown.exit_code == 1
    assert "run 'essence cache pull --k 12 --shards 0-1,3 " in shown.stderr


def test_command_in_an_error_copies_what_was_missing(teacher: Path, tmp_path: Path) -> None:
    place = tmp_path / "a b.zarr"
    cache("pull", teacher / "train.zarr", place, "--k", "1", "--shards", "0")
    words = ("show", place, "../ütt/9", "--k", "6", "--out", tmp_path / "a.png")
    refused = cache(*words)
    assert refused.exit_code == 1
    command = refused.stderr.split("run '")[1].split("' to add that")[0]
    assert cache(*shlex.split(command)[2:]).exit_code == 0
    assert cache(*words).exit_code == 0


def test_exit_codes_of_push_and_pull_are_1_for_failure_and_2_for_misuse(
    teacher: Path, tmp_path: Path
) -> None:
    store = teacher / "train.zarr"
    assert cache("push", store, "https://host/a.zarr").exit_code == 1
    assert "can only be read" in cache("push", store, "https://host/a.zarr").stderr
    assert cache("pull", store, "s3://bucket/a.zarr").exit_code == 2
    assert cache("pull", store, tmp_path / "a.zarr", "--shards", "3-1").exit_code == 2
    assert cache("pull", store, tmp_path / "a.zarr", "--k", "x").exit_code == 2
    assert cache("pull", store, tmp_path / "a.zarr", "--splits", "train").exit_code == 1
    assert cache("pull", tmp_path / "nothing", tmp_path / "a.zarr").exit_code == 1
    assert "is not there" in cache("pull", tmp_path / "nothing.zarr", tmp_path / "a.zarr").stderr
    wrong = cache("pull", store, tmp_path / "a.zarr", "--expect", "0" * 64)
    assert wrong.exit_code == 1
    assert "expected 0000" in wrong.stderr
    assert not (tmp_path / "a.zarr").exists()
    copied = Path(shutil.copytree(store, tmp_path / "b.zarr"))
    (copied / "ids_0/c/0/0").write_bytes(b"")
    assert cache("push", copied, tmp_path / "c.zarr").exit_code == DAMAGED
    (copied / HEAD).unlink()
    assert cache("push", copied, tmp_path / "d.zarr").exit_code == UNDER_CONSTRUCTION
    assert not (tmp_path / "d.zarr").exists()


def test_push_of_a_partial_copy_is_refused(teacher: Path, tmp_path: Path) -> None:
    cache("pull", teacher / "train.zarr", tmp_path / "a.zarr", "--k", "4")
    pushed = cache("push", tmp_path / "a.zarr", tmp_path / "b.zarr")
    assert pushed.exit_code == 1
    assert "is a partial copy itself" in pushed.stderr
    assert not (tmp_path / "b.zarr").exists()


def test_help_has_an_example_that_parses() -> None:
    for command in ("push", "pull"):
        text = cache(command, "--help").stdout
        assert f"essence cache {command} " in text.split("Examples:")[1]


def test_password_in_an_address_is_neither_printed_nor_stored(
    teacher: Path, tmp_path: Path
) -> None:
    url = "memory://me:secret@shelf/train.zarr"
    pushed = cache("push", teacher / "train.zarr", url)
    assert pushed.exit_code == 0
    pulled = cache("pull", url, tmp_path / "a.zarr", "--k", "4")
    assert "memory://***@shelf/train.zarr" in pushed.stdout
    assert "memory://***@shelf/train.zarr" in (tmp_path / "a.zarr" / "part.json").read_text()
    told = pushed.output + pulled.output + cache("info", tmp_path / "a.zarr").output
    assert "secret" not in told
    assert not [
        path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()
    ]
