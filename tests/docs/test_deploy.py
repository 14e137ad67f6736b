"""docs/deploy.md is true: its commands work as printed, in the order of the page."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import DOCS, ROOT

pytest.importorskip("espeakng_loader", reason="the spoken corpus needs the extra 'demo'")
pytest.importorskip("onnx", reason="needs the extra 'export'")
PAGE = (DOCS / "deploy.md").read_text("utf-8")
LONGEST = 900  # seconds of a command, on a busy machine
BLOCKS = re.findall(r"<!-- run -->\n```\n(.*?)```", PAGE, flags=re.DOTALL)


def shell(text: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Commands of the page in a shell, with `essence` of this tree and this `python`."""
    bin = directory / "bin"
    bin.mkdir(exist_ok=True)
    for name, words in (("essence", "-m essence "), ("python", "")):
        (bin / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words}"$@"\n')
        (bin / name).chmod(0o755)
    path = f"{bin}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-ec", text],
        cwd=directory,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which the page's first command has run."""
    directory = tmp_path_factory.mktemp("tiny")
    ran = shell("essence run --config tiny", directory)
    assert ran.returncode == 0, ran.stderr
    return directory


@pytest.mark.slow  # a minute: 'essence run --config tiny' comes first
@pytest.mark.timeout(2 * LONGEST)
def test_commands_of_the_page_work_as_printed(tiny: Path, tmp_path: Path) -> None:
    tmp_path = shutil.copytree(tiny, tmp_path / "tiny", symlinks=True)
    assert len(BLOCKS) == 2
    for block in BLOCKS:
        ran = shell(block, tmp_path)
        assert ran.returncode == 0, ran.stderr
    names = [path.name for path in sorted(tmp_path.glob("*.jsonl"))]
    assert names == ["words-int8.jsonl", "words.jsonl"]
    whole, small = (
        [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]
        for name in reversed(names)
    )
    assert len(whole) == len(small) > 30
    code = re.search(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert code
    first = "import numpy\nfeatures = numpy.zeros((7, 120), numpy.float32)\n"
    last = "assert loglike.shape[0] == 7"
    ran = shell(f"{sys.executable} -W error -c '{first}{code[1]}{last}'", tmp_path)
    assert ran.returncode == 0, ran.stderr


def test_page_lists_the_files_of_an_export() -> None:
    for name in ("model.onnx", "onnx.json", "export.json", "priors.npy", "cmvn.json", "graph/"):
        assert re.search(rf"^\| `{re.escape(name)}`", PAGE, flags=re.MULTILINE), name


@pytest.mark.slow  # it installs the extra 'deploy' into a fresh environment
@pytest.mark.timeout(2 * LONGEST)
def test_extra_deploy_is_all_that_transcribing_needs(tiny: Path, tmp_path: Path) -> None:
    tmp_path = shutil.copytree(tiny, tmp_path / "tiny", symlinks=True)
    export = BLOCKS[0].splitlines()[0]
    made = shell(f"{export} && essence corpus --config tiny --keep-audio", tmp_path)
    assert made.returncode == 0, made.stderr
    (table,) = (tmp_path / "work-tiny").glob("audio-*/test.tsv")
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip = [venv / "bin" / "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    tree = shutil.copytree(
        ROOT,
        tmp_path / "tree",
        ignore=shutil.ignore_patterns(".git", "work", "work-*", "*.egg-info"),
    )
    subprocess.run([*pip, f"{tree}[deploy]"], check=True, timeout=LONGEST)
    ran = subprocess.run(
        [venv / "bin" / "essence", "transcribe", tmp_path / "deployed", table],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(ran.stdout.splitlines()) > 30
    listed = subprocess.run(
        [venv / "bin" / "pip", "list"], capture_output=True, text=True, check=True
    ).stdout
    assert not re.search(r"^(torch|safetensors|matplotlib)\s", listed, flags=re.MULTILINE)
