"""The command line: --help is fast and has examples, mistakes give one line and an exit code."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.support.makers.pipeline import essence, write_tiny

COMMANDS = (
    "init",
    "config",
    "run",
    "corpus",
    "ensemble",
    "teacher",
    "student",
    "sweep",
    "evaluate",
    "report",
    "status",
    "verify",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_each_have_an_example_in_their_help(command: str) -> None:
    shown = CliRunner().invoke(main, [command, "--help"])
    assert shown.exit_code == 0
    assert f"Example: essence {command}" in shown.output


def test_help_imports_no_slow_package() -> None:
    """A start-up budget in modules, not in seconds: slow packages must not be imported."""
    code = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import main;"
        "CliRunner().invoke(main, ['--help']);"
        "print(sorted({'torch', 'numpy', 'zarr', 'h5py', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "--set", "student.kk=4"], 2, "did you mean 'student.k'?"),
        (["run", "--set", "student.k=0"], 2, "found 0"),
        (["run", "--config", "absent.yaml"], 2, "absent.yaml cannot be read"),
        (["run", "--device", "gpu"], 2, "device"),
        (["run", "--no-such-option"], 2, "No such option"),
        (["teacher"], 1, "run 'essence ensemble' first"),
        (["evaluate"], 1, "run 'essence corpus' first"),
        (["corpus", "--set", "corpus={source: kaldi, path: nowhere}"], 1, "nowhere"),
    ],
)
def test_mistake_gives_one_line_and_an_exit_code(
    tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    write_tiny(tmp_path)
    ran = essence(tmp_path, *words)
    assert ran.returncode == code, ran.stderr
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not ran.stdout
    assert not (tmp_path / "work").exists()
