"""Leftovers: whatever a process writes under an unfinished name is recognised, and only that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.files.leftovers import is_leftover, remove_leftovers, scratch_folder, unfinished

NAMES = st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=30)


@given(NAMES.filter(lambda name: name not in (".", "..")))
def test_every_unfinished_name_is_a_leftover(name: str) -> None:
    path = unfinished(Path("/folder") / name)
    assert path.parent == Path("/folder")
    assert is_leftover(path.name)


@pytest.mark.parametrize(
    "name",
    [
        "model.json", "a.partial", ".hidden", ".a.partial", "a.17.partial", ".a.17.partial.txt",
        "student-3f9c0a71b2d4.partial", ".17.partial", ".a.x7.partial",
    ],
)  # fmt: skip
def test_other_names_are_no_leftovers(name: str) -> None:
    assert not is_leftover(name)


def test_remove_leftovers_removes_files_folders_and_links_of_that_name_only(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    kept = [tmp_path / "inner" / "a.partial", outside / "file", tmp_path / ".hidden"]
    for path in [*kept, tmp_path / ".file.17.partial", tmp_path / "inner" / ".x.9.partial"]:
        path.touch()
    for folder in (tmp_path / ".speech.17.partial", tmp_path / "inner" / ".graph.4.partial"):
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "file").touch()
    (tmp_path / ".link.3.partial").symlink_to(outside)
    remove_leftovers(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "inner", "outside"]
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["a.partial"]


KILLED = """
import os, signal, sys
from pathlib import Path
from storage.files.leftovers import scratch_folder
from storage.files.publish import publish_pieces

def pieces():
    yield b"some bytes"
    os.kill(os.getpid(), signal.SIGKILL)

folder = Path(sys.argv[1])
with scratch_folder(folder / "work") as scratch:
    (scratch / "large").write_bytes(b"x")
    publish_pieces(folder / "model.json", pieces())
"""


def test_what_a_killed_process_leaves_is_removed(tmp_path: Path) -> None:
    """RELIABILITY 33: a partial file and a folder for scratch work."""
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -9
    left = list(tmp_path.iterdir())
    assert len(left) == 2
    assert all(is_leftover(path.name) for path in left)
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_scratch_folder_is_empty_at_the_start_and_removed_after_an_error(tmp_path: Path) -> None:
    left = tmp_path / f".work.{os.getpid()}.partial"
    left.mkdir()
    (left / "old").touch()

    def work() -> None:
        with scratch_folder(tmp_path / "work") as scratch:
            assert scratch == left
            assert not list(scratch.iterdir())
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        work()
    assert not list(tmp_path.iterdir())
