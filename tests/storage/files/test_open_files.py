"""open_files.py: processes that use files below a folder, seen by a real process that does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.files.open_files import open_below

USES = {
    "open": "file = open('a/b/data', 'rb')",
    "mapped": "import mmap; f = open('a/b/data', 'rb'); m = mmap.mmap(f.fileno(), 0, prot=1); "
    "f.close()",
    "folder": "import os; os.chdir('a/b')",
}


@pytest.mark.parametrize("use", USES)
def test_process_that_uses_a_file_is_found_until_it_ends(tmp_path: Path, use: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "data").write_bytes(b"x" * 5000)
    code = f"{USES[use]}; print('ready', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        found = open_below(tmp_path / "a")
        assert found.keys() == {process.pid}
        assert all(path.is_relative_to(tmp_path / "a" / "b") for path in found[process.pid])
        assert not open_below(tmp_path / "a" / "c")
        process.communicate("\n")
    assert not open_below(tmp_path / "a")


def test_files_of_this_process_are_left_out(tmp_path: Path) -> None:
    with (tmp_path / "data").open("w"):
        assert os.getpid() not in open_below(tmp_path)
