"""The command line: --help is fast and has examples, mistakes give one line and an exit code."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.support.makers.pipeline import essence, write_tiny
from tests.support.paths import ROOT

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
    "gc",
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
        (["run", "--set", "student.nope=1"], 2, "--set: student.nope is not a setting: known: "),
        (["run", "--set", "student.k=99"], 2, "--set: the teacher of these settings holds K=8"),
        (["run", "--device", "cuda:99"], 2, "this machine has"),
        (["status", "--device", "cuda:99"], 2, "this machine has"),
        (["run", "--device", "cuda:99", "--scheduler", "tcp://127.0.0.1:1"], 2, "this machine has"),
        (["run", "--config", "absent.yaml"], 2, "absent.yaml cannot be read"),
        (["run", "--device", "gpu"], 2, "device: wanted cpu, cuda, cuda:N or mps, found 'gpu'"),
        (["status", "--set", "student.kk=4"], 2, "did you mean 'student.k'?"),
        (["config", "--set", "studnt.k=4"], 2, "studnt is not a setting: did you mean 'student'?"),
        (["config", "--config", "nosuch"], 2, "give a file, or one of an4, "),
        (["--config", "nosuch", "status"], 2, "--config is an option of a command: give it after"),
        (["--origin", "config"], 2, "as in 'essence config --origin ...'"),
        (["init", "nowhere/a.yaml"], 2, "nowhere/a.yaml cannot be written (No such file"),
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


def test_device_is_checked_before_anything_is_made(tmp_path: Path) -> None:
    write_tiny(tmp_path)
    assert essence(tmp_path, "run", "--device", "cuda:99").returncode == 2
    assert not (tmp_path / "work").exists()


def test_file_that_does_not_fit_is_named_also_with_other_changes(tmp_path: Path) -> None:
    write_tiny(tmp_path).write_text("teacher: {kept: 8}\nstudent: {k: 9}\ncompare: []\n")
    for words in ([], ["--set", "device=cpu"]):
        told = essence(tmp_path, "status", *words).stderr
        assert told.startswith("essence: pipeline.yaml: the teacher of these settings holds K=8")
        assert "lower student.k, or raise teacher.kept" in told


@pytest.mark.parametrize(
    ("shell", "variables", "wanted"),
    [
        ("bash", {"COMP_WORDS": "essence ca", "COMP_CWORD": "1"}, "plain,cache"),
        ("zsh", {"COMP_WORDS": "essence cache ver", "COMP_CWORD": "2"}, "verify"),
    ],
)
def test_shell_completes_commands_as_readme_tells(
    monkeypatch: pytest.MonkeyPatch, shell: str, variables: dict[str, str], wanted: str
) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert '"$(_ESSENCE_COMPLETE=bash_source essence)"' in readme
    for name, value in {**variables, "_ESSENCE_COMPLETE": f"{shell}_complete"}.items():
        monkeypatch.setenv(name, value)
    ran = essence(ROOT / "docs")
    assert wanted in ran.stdout.split(), ran.stderr
