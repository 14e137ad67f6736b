"""Other code of the same version: a copy of the sources in which one line differs."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

COPIED = ("storage", "stages", "pipeline", "essence", "tests")
CHANGED = "stages/teacher/shard.py"


def copy_of_the_sources(folder: Path, *, change: bool = True) -> Path:
    """The packages in `folder`; with `change` a comment is added to one of `stages`."""
    for package in COPIED:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    if change:
        with (folder / CHANGED).open("a", encoding="utf-8") as file:
            file.write("# another line\n")
    return folder


def run_with(code: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a process that imports the packages in `code`."""
    return subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=code,
        env={"PYTHONPATH": str(code), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
