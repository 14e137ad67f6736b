"""docs/audio.md is true: its commands work as printed, on recordings with alignments."""

import re
import runpy
import shlex
import subprocess
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import main
from tests.support.makers.audio import make_audio
from tests.support.paths import DOCS

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
pytest.importorskip("datasets", reason="needs the extra 'manifests'")
pytest.importorskip("lhotse", reason="needs the extra 'manifests'")
PAGE = (DOCS / "audio.md").read_text("utf-8")
SETTINGS = re.findall(r"```yaml\n# (audio\.yaml)\n(.*?)```", PAGE, flags=re.DOTALL)
BLOCKS = re.findall(r"<!-- run -->\n```\n(.*?)```", PAGE, flags=re.DOTALL)


def run(block: str) -> str:
    """What the last line of a block prints; all lines run in the current folder.

    Lines `essence ...` and `python FILE` run in this process, which has loaded torch, lhotse and
    datasets already: to load them eight times took most of the time. Others run in a shell.
    """
    *_, printed = [
        _run_here(shlex.split(text)) if is_here else _run_in_shell(text)
        for is_here, text in _pieces(block)
    ]
    return printed


def _pieces(block: str) -> list[tuple[bool, str]]:
    """Texts of the block in order, and whether each is a command that runs in this process."""
    found = re.split(r"^((?:essence|python) .*)$", block, flags=re.MULTILINE)
    return [(n % 2 == 1, text) for n, text in enumerate(found) if text.strip()]


def _run_here(words: list[str]) -> str:
    if words[0] == "python":
        (script,) = words[1:]
        with warnings.catch_warnings(action="ignore"):  # lhotse's own; here they are errors
            runpy.run_path(script, run_name="__main__")
        return ""
    ran = CliRunner().invoke(main, words[1:])
    assert ran.exit_code == 0, ran.output
    return ran.stdout


def _run_in_shell(text: str) -> str:
    ran = subprocess.run(["bash", "-ec", text], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_commands_of_the_page_make_the_same_corpus_of_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_audio(tmp_path).write_table(tmp_path / "speech.tsv")
    ((name, text),) = SETTINGS
    (tmp_path / name).write_text(text)
    assert len(BLOCKS) == 4
    made = [tmp_path / run(block).strip().splitlines()[-1] for block in BLOCKS]
    assert len(set(made)) == len(BLOCKS)
    summary = made[0] / "summary.json"
    before = summary.stat().st_mtime_ns
    assert run(BLOCKS[0]) == f"{made[0].relative_to(tmp_path)}\n"
    assert "fresh" in run("essence status --config audio.yaml")
    assert summary.stat().st_mtime_ns == before  # it was not made again
    summaries = {(folder / "summary.json").read_text() for folder in made}
    assert len(summaries) == 1
