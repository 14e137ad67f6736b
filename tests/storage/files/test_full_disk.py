"""A full disk is named with file, needed and free bytes, also where the system names no file."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from storage.files.full_disk import naming
from storage.files.publish import make_directories
from tests.support.paths import ROOT

# RLIMIT_FSIZE is the full disk that a test can have: EFBIG instead of ENOSPC.
STATUS = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (5, resource.RLIM_INFINITY))
from pathlib import Path
import click
from pipeline.terminal.exit import ExitGroup
from storage.files.publish import publish_file

@click.group(cls=ExitGroup)
def main() -> None: ...

@main.command()
def write() -> None:
    publish_file(Path("made.json"), b"more than five bytes")

main()
"""


def test_command_names_file_needed_and_free_bytes(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STATUS, "write"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1
    (line,) = ran.stderr.splitlines()
    assert "made.json" in line
    assert "cannot be written (File too large): 20 bytes are needed, " in line
    assert "bytes are free: make room, then run the same command again" in line
    assert not list(tmp_path.iterdir())


def test_error_keeps_the_name_that_it_has(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="/elsewhere") as caught, naming(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "full", "/elsewhere")
    assert not hasattr(caught.value, "__notes__")


def test_other_errors_are_not_changed(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk") as caught, naming(tmp_path / "a"):
        raise OSError(errno.EIO, "disk")
    assert caught.value.filename is None


def test_each_new_directory_is_flushed_into_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        flushed.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    make_directories(tmp_path / "a" / "b" / "c")
    assert flushed == [str(tmp_path / part) for part in ("", "a", "a/b")]
    make_directories(tmp_path / "a" / "b" / "c")
    assert len(flushed) == 3
