"""Python in a process of its own, in which some packages cannot be imported."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.support.paths import ROOT

BLOCK = """
import sys

class Blind:
    # A finder that finds everything but the packages: neither an import nor a look for one.
    def __init__(self, finder):
        self.finder = finder

    def __getattr__(self, name):
        return getattr(self.finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            return None
        return self.finder.find_spec(name, path, target)

HIDDEN = set(sys.argv.pop(1).split(","))
sys.meta_path[:] = map(Blind, sys.meta_path)
"""
COMMAND = "from essence.__main__ import main\nmain()"


def run_without(
    packages: Iterable[str], code: str, *words: str | Path, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run code with arguments; imports of the packages fail as if they were not installed."""
    return run_code(BLOCK + code, ",".join(packages), *words, cwd=cwd)


def run_code(code: str, *words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run code with arguments."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
