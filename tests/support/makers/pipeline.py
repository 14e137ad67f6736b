"""A tiny pipeline on really spoken speech: everything real, everything small."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests.support.paths import ROOT

TINY = {
    "corpus": {
        "spoken": {
            "hours": 0.02,
            "dev_minutes": 0.3,
            "test_minutes": 0.3,
            "train_voices": 7,
            "dev_voices": 2,
            "test_voices": 3,
            "lm_sentences": 5000,
            "labelled_share": 1.0,
        }
    },
    "ensemble": {
        "members": [
            {
                "name": "wide",
                "architecture": {"kind": "tdnn", "hidden": 24, "layers": 2},
                "training": {"epochs": 2, "batch_frames": 700, "seed": 1},
            },
            {
                "name": "deep",
                "architecture": {"kind": "gru", "hidden": 16, "layers": 1},
                "training": {"epochs": 1, "batch_frames": 700, "seed": 2},
            },
        ]
    },
    "teacher": {"kept": 8, "combine": "arithmetic", "shard_frames": 2048, "chunk_frames": 512},
    "student": {
        "k": 5,
        "hard_weight": 0.5,
        "architecture": {"kind": "tdnn", "hidden": 16, "layers": 2},
        "training": {"epochs": 2, "batch_frames": 700, "seed": 3},
    },
    "compare": [{"hard_weight": 1.0}, {"k": 1}],
    "evaluate": {
        "beam": 8.0,
        "max_active": 300,
        "acoustic_scales": [0.2],
        "insertion_penalties": [0.0],
    },
}


def write_tiny(directory: Path) -> Path:
    """The settings file of the tiny pipeline, in `directory`."""
    path = directory / "pipeline.yaml"
    path.write_text(yaml.safe_dump(TINY), encoding="utf-8")
    return path


def essence(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in `directory`, as a user does; one thread, so that bytes are the same."""
    return subprocess.run(
        [sys.executable, "-m", "essence", *words],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def tree_digests(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below a directory, by its path there."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }
