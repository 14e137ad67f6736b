"""`python -m essence`: the command line, with the same name as the console script."""

import subprocess
import sys

from stages.contract.version import VERSION
from tests.support.paths import ROOT


def essence(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "essence", *words],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version_names_the_distribution() -> None:
    ran = essence("--version")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, f"essence-kd {VERSION}\n", "")


def test_help_names_the_command_not_the_module() -> None:
    ran = essence("--help")
    assert ran.returncode == 0
    assert ran.stdout.startswith("Usage: essence [OPTIONS] COMMAND")


def test_misuse_exits_with_2() -> None:
    ran = essence("distil")
    assert ran.returncode == 2
    assert "No such command 'distil'" in ran.stderr
