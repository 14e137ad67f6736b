"""The benchmark for GPUs runs on a processor at toy size, where its figures mean nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TITLES = [
    "Right",
    "Waits",
    *["Loss"] * 2,
    *["Layer and loss"] * 2,
    "Trainer",
    "Teacher",
    "Loader",
]


def test_every_part_runs_at_toy_size_and_the_loss_is_right(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--toy", "--json", tmp_path / "g"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr[-2000:]
    tables = json.loads((tmp_path / "g").read_text())["tables"]
    assert [table["title"].split(":")[0] for table in tables] == TITLES
    for table in tables:
        assert table["rows"]
        assert all(len(row) == len(table["columns"]) for row in table["rows"])
    for name, off_loss, off_gradient in tables[0]["rows"]:
        assert off_loss < 1e-6, name
        assert off_gradient < (1e-6 if name.startswith("fp32") else 4e-3), name  # rounded to 8 bits
