"""The programs of docs/integrations.md run as printed, with the real libraries, and learn."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import essence
from tests.support.makers.integrations import (
    make_hugging_face_folder,
    make_lhotse_folder,
    make_plain_folder,
    make_texts,
)
from tests.support.paths import DOCS, ROOT

PAGE = (DOCS / "integrations.md").read_text("utf-8")
RECORD, HUGGING_FACE, LHOTSE, PLAIN = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
MOST_LINES = 6  # of Essence in a program, besides its import


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skip where a library is missing."""
    lacks = [name for name in packages if find_spec(name) is None]
    reason = f"needs {', '.join(lacks)}: pip install '.[integrations]'"
    return pytest.mark.skipif(bool(lacks), reason=reason)


def run(code: str, folder: Path) -> str:
    """Run a program of the page in a process, without network."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_learns(output: str) -> None:
    """The losses that a program prints fall."""
    losses = [float(text) for text in re.findall(r"'?loss'?:? '?([\d.]+)", output)]
    assert len(losses) >= 2, output
    assert losses[-1] < 0.95 * losses[0], output


@pytest.mark.parametrize("code", [RECORD, HUGGING_FACE, LHOTSE, PLAIN])
def test_lines_of_essence_are_few_and_marked(code: str) -> None:
    names = re.compile(r"\bessence\b|essence_loss|recorder|soft_labels|source(\(| =)")
    lines = code.splitlines()
    marked = [line for line in lines if line.endswith("  # essence")]
    assert [line for line in lines if names.search(line)] == marked
    assert 3 <= len(marked) <= 1 + MOST_LINES


@needs("transformers", "accelerate")
def test_hugging_face_program_records_a_teacher_and_trains_a_student(tmp_path: Path) -> None:
    make_hugging_face_folder(tmp_path)
    output = run(RECORD + HUGGING_FACE, tmp_path)  # in one process: to import them takes longest
    store = essence.open_store(tmp_path / "train.zarr")
    assert sorted(row.id for row in store.utterances) == sorted(make_texts())
    store.verify()
    assert_learns(output)


@needs("lhotse")
def test_lhotse_program_trains_on_perturbed_cuts(tmp_path: Path) -> None:
    make_lhotse_folder(tmp_path)
    assert_learns(run(LHOTSE, tmp_path))


def test_plain_program_trains(tmp_path: Path) -> None:
    make_plain_folder(tmp_path)
    assert_learns(run(PLAIN, tmp_path))
