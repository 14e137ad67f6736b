"""Training killed at any time resumes to the same bytes."""

import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.faults.kills import spoil
from tests.support.makers.training import make_corpus_directory

SETTINGS = {
    "epochs": 3,
    "batch_frames": 120,
    "checkpoint_minutes": 0,
    "average_last": 2,
    "patience": 2,
    "learning_rate": 0.05,
    "augmentation": {"time_masks": 1, "time_mask_frames": 5, "noise": 0.1},
}


MODEL = ["metrics.jsonl", "model.json", "model.safetensors"]
TRUNK = ["metrics.jsonl", "state/checkpoint-0.safetensors", "state/checkpoint.json"]


def _check(
    tmp_path: Path, points: list[tuple[str, int]], *, is_trunk: bool = False, **changes: Any
) -> dict[str, int]:
    corpus = make_corpus_directory(tmp_path / "corpus")
    (tmp_path / "runs").mkdir()
    settings = {**SETTINGS, **changes}
    job = {"settings": settings, "points": points, "seed": 1, "is_trunk": is_trunk}
    found = spoil(corpus, tmp_path / "runs", job)
    assert sorted(found["wanted"]) == (TRUNK if is_trunk else MODEL)
    assert found["differing"] == []
    kills: dict[str, int] = found["kills"]
    return kills


def test_training_killed_at_a_step_file_operation_or_time_resumes_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    """RELIABILITY 27, 28."""
    rng = random.Random(7)
    points = [("step", rng.randint(2, 15)), ("file", rng.randint(9, 170)), ("time", 0)]
    kills = _check(tmp_path, points)
    assert all(kills.values()), kills


def test_trunk_killed_at_a_step_or_file_operation_resumes_to_the_same_bytes(
    tmp_path: Path,
) -> None:
    points = [("step", 5), *(("file", number) for number in (31, 68, 72, 75, 77, 200))]
    kills = _check(tmp_path, points, is_trunk=True, epochs=2, schedule="trunk")
    assert kills["step 5"] > 0
    assert kills["file 31"] > 0
    assert kills["file 77"] > 0
    assert kills["file 200"] == 0  # past the last


def test_training_killed_between_checkpoints_repeats_the_steps_since_the_last(
    tmp_path: Path,
) -> None:
    kills = _check(tmp_path, [("step", 11)], checkpoint_minutes=0.0003)
    assert kills["step 11"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(8))
def test_training_killed_at_every_file_operation_resumes_to_the_same_bytes(
    tmp_path: Path, part: int
) -> None:
    points = [("file", number) for number in range(1 + part, 240, 8)]
    kills = list(_check(tmp_path, points, epochs=2).values())
    assert kills[0] > 0
    assert kills[-1] == 0  # past the last: every operation was hit
