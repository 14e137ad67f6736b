"""What docs/library.md promises to other programs, run as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np

from storage.read.reader import open_store
from tests.support.paths import ROOT


def example(number: int) -> str:
    """The number-th Python example of the page."""
    page = (ROOT / "docs" / "library.md").read_text()
    return re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[number]


def run(code: str, folder: Path) -> str:
    """In a process of its own, where nothing else of Essence may be imported."""
    only_storage = (
        "import sys\n"
        "for name in ('torch', 'pipeline', 'stages', 'click', 'h5py'):\n"
        "    sys.modules[name] = None\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", only_storage + code],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_both_examples_run_in_numpy_alone(tmp_path: Path) -> None:
    digest = run(example(1), tmp_path).strip()
    store = open_store(tmp_path / "train.zarr")
    assert store.digest == digest
    assert [row.num_frames for row in store.utterances] == [300, 700]
    assert store.read(range(1000), k=32).ids_TK.shape == (1000, 32)
    checks = (
        "\n    assert labels.ids_TK.shape == labels.logp_TK.shape == (utterance.num_frames, 8)"
        "\n    assert labels.tail_T.shape == (utterance.num_frames,)"
        "\nprint(store.num_frames)"
    )
    assert run(example(0) + checks, tmp_path) == "1000\n"
    assert run(example(1), tmp_path).strip() == digest  # again: nothing is missing
    frames = store.utterance_frames("utt-b")
    part, whole = store.read(frames[100:350], k=8), store.read(["utt-b"], k=8)
    np.testing.assert_array_equal(part.ids_TK, whole.ids_TK[100:350])


def test_reading_takes_ten_lines() -> None:
    assert len([line for line in example(0).splitlines() if line.strip()]) <= 10
