"""essence cache on a teacher's folder, without an utterance, and the examples of its help."""

import json
import re
import shlex
from pathlib import Path

import pytest

from pipeline.cache.commands import DAMAGED, UNDER_CONSTRUCTION
from pipeline.cache.commands import cache as group
from tests.support.makers.cache import cache
from tests.support.makers.store import fill_store, make_about, make_utterances

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

LENGTHS = {"train": (0, 20, 33, 10), "dev": (7, 11)}
WITH_FOLDERS = ("info", "verify", "audit")


@pytest.fixture
def teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a teacher, in the work directory here: train.zarr and dev.zarr."""
    monkeypatch.chdir(tmp_path)
    folder = Path("work/teacher-0123456789ab")
    for split, lengths in LENGTHS.items():
        about = make_about(split=split)
        fill_store(folder / f"{split}.zarr", about, utterances=make_utterances(lengths))
    return folder


def examples(command: str) -> list[list[str]]:
    """The words of each example in the help of a command that no server is needed for."""
    text = group.commands[command].callback.__doc__ or ""  # type: ignore[union-attr]
    lines = re.findall(r"^ *Examples?: essence cache (.*)$", text, re.MULTILINE)
    return [shlex.split(line) for line in lines if "://" not in line and "corpus" not in line]


def expanded(word: str) -> str:
    """A pattern as the shell expands it."""
    found = sorted(map(str, Path().glob(word))) if "*" in word else []
    return found[0] if found else word


@pytest.mark.parametrize("command", ["info", "verify", "audit", "show", "list", "repair"])
def test_examples_of_the_help_work_as_printed(teacher: Path, command: str) -> None:
    found = examples(command)
    assert found
    for words in found:
        done = cache(*map(expanded, words))
        assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize("command", WITH_FOLDERS)
def test_folder_of_stores_stands_for_each_of_them(teacher: Path, command: str) -> None:
    alone = [
        json.loads(cache(command, teacher / f"{split}.zarr", "--json").stdout)
        for split in ("dev", "train")
    ]
    done = cache(command, teacher, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == alone
    text = cache(command, teacher).stdout
    assert all(word in text for word in ("train", "dev"))


def test_audit_of_a_folder_draws_each_store(teacher: Path) -> None:
    cache("audit", teacher)
    assert {path.name for path in Path().glob("*.png")} == {"audit-train.png", "audit-dev.png"}
    refused = cache("audit", teacher, "--corpus", "train.h5")
    assert refused.exit_code == 2
    assert "one split" in refused.stderr


def test_verify_of_a_folder_checks_the_stores_after_a_bad_one(teacher: Path) -> None:
    (teacher / "dev.zarr" / "HEAD").unlink()
    done = cache("verify", "--data", teacher)
    assert done.exit_code == UNDER_CONSTRUCTION
    assert "dev.zarr is under construction" in done.stderr
    assert "train.zarr: checked" in done.stdout
    (teacher / "train.zarr" / "val_0" / "c" / "1" / "0").write_bytes(b"?")
    assert cache("verify", teacher).exit_code == DAMAGED


def test_verify_without_data_tells_what_was_not_compared(teacher: Path) -> None:
    sizes = cache("verify", teacher / "dev.zarr").stdout
    assert "all sizes agree, and --data compares every byte: " in sizes
    assert "sound" not in sizes
    assert "sound: " in cache("verify", "--data", teacher / "dev.zarr").stdout


def test_folder_without_stores_is_one_line_of_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    for command in WITH_FOLDERS:
        done = cache(command, tmp_path)
        assert done.exit_code == 1
        assert "no soft-label store, and there is none in it" in done.stderr


def test_show_without_an_utterance_takes_the_first_that_has_frames(teacher: Path) -> None:
    rows = json.loads(cache("list", teacher / "train.zarr", "--json").stdout)
    assert [row["frames"] for row in rows] == list(LENGTHS["train"])
    facts = json.loads(cache("show", teacher / "train.zarr", "--json").stdout)
    assert (facts["utterance"], facts["frames"]) == (rows[1]["id"], 20)


def test_unknown_utterance_is_refused_with_ids_that_exist(teacher: Path) -> None:
    done = cache("show", teacher / "train.zarr", "dev-00003")
    assert done.exit_code == 1
    named = re.findall(r"'([^' ]+)'", done.stderr.partition("such as")[2])
    assert named
    assert all(
        cache("show", teacher / "train.zarr", id, "--k", "2").exit_code == 0
        for id in named
        if id != "../ütt/0"
    )
    assert "essence cache list" in done.stderr


def test_list_prints_frames_and_shard_of_every_utterance(teacher: Path) -> None:
    lines = cache("list", teacher / "train.zarr").stdout.splitlines()
    assert len(lines) == 1 + len(LENGTHS["train"])
    assert lines[0].split() == ["utterance", "frames", "shard"]
    assert lines[2].split()[1] == "20"


def test_damaged_chunk_is_reported_with_what_to_do(teacher: Path) -> None:
    place = teacher / "dev.zarr"
    damaged = place / "val_0" / "c" / "0" / "0"
    content = bytearray(damaged.read_bytes())
    content[0] ^= 1
    damaged.write_bytes(content)
    done = cache("show", place)
    assert done.exit_code == DAMAGED
    assert f"run 'essence cache repair {place}'" in done.stderr
    assert "damaged shards: 0" in cache("repair", "--dry-run", place).stdout
