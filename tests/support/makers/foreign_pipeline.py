"""A tiny pipeline whose ensemble has members of other programs, and what they are exported from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.job import Job
from pipeline.settings.read import read_settings
from stages.acoustic.models.permission import allow_factories
from tests.support.makers.pipeline import TINY
from tests.support.makers.training import RecordingProgress

BASE: dict[str, Any] = dict(TINY)
KEPT = 3
OWN = BASE["ensemble"]["members"][1] | {"name": "own"}  # a GRU


def trained_members(*kinds: str) -> list[dict[str, Any]]:
    """Members that are trained here, to be exported: one of each kind of architecture."""
    return [
        {
            "name": f"{kind}-{seed}",
            "architecture": {"kind": kind, "hidden": 11, "layers": 2},
            "training": {"epochs": 2, "batch_frames": 700, "seed": seed},
        }
        for seed, kind in enumerate(kinds)
    ]


def write_pipeline(
    directory: Path,
    members: Sequence[dict[str, Any]],
    *,
    corpus: dict[str, Any],
    shard_frames: int,
    combine: str = "arithmetic",
) -> Path:
    """pipeline.yaml: the tiny pipeline over a corpus, with other members."""
    settings = BASE | {
        "corpus": corpus | {"features": {"subsample": 2}},
        "ensemble": {"members": list(members)},
        "teacher": {"kept": KEPT, "combine": combine}
        | {"shard_frames": shard_frames, "chunk_frames": 100},
        "student": BASE["student"] | {"k": 2},
        "compare": [],
        "evaluate": BASE["evaluate"] | {"processes": 1},
        "report": {"bootstrap_samples": 100},
    }
    path = directory / "pipeline.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def open_job(path: Path) -> Job:
    """The job of a settings file, whose members are trusted as the settings say."""
    settings = read_settings(path)
    allow_factories(settings.own_architectures)
    return Job(settings, RecordingProgress())
