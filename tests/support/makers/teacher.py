"""Makers for the teacher: members of random weights, and one run over a small corpus."""

from pathlib import Path
from typing import Any

from stages.acoustic.models.model_file import ModelAbout, save_model
from stages.acoustic.models.settings import ArchitectureSettings
from stages.contract.results import TeacherSummary
from stages.teacher.label import label_corpus
from stages.teacher.settings import TeacherSettings
from stages.teacher.workforce import ThisProcess, Workforce
from tests.support.makers.training import INVENTORY, NUM_CLASSES, RecordingProgress, make_model

SETTINGS: dict[str, Any] = {
    "combine": "arithmetic",
    "kept": 3,
    "shard_frames": 140,
    "chunk_frames": 20,
    "batch_frames": 90,
}


def make_member(directory: Path, kind: str, *, seed: int, **changes: Any) -> Path:
    """A small model of random weights, saved as a member."""
    directory.mkdir(parents=True)
    model = make_model(kind, seed=seed)
    fields = {
        "architecture": ArchitectureSettings.model_validate(
            {"kind": kind, "hidden": 11, "layers": 2}
        ),
        "feature_dim": model.feature_dim,
        "num_classes": NUM_CLASSES,
        "class_inventory": INVENTORY,
        "corpus_fingerprint": "0" * 64,
    }
    save_model(directory, model, ModelAbout.model_validate(fields | changes))
    return directory


def make_members(root: Path, kinds: tuple[str, ...]) -> list[Path]:
    """One member of each kind below `root`, each with a seed of its own."""
    return [make_member(root / kind, kind, seed=seed) for seed, kind in enumerate(kinds)]


def label(
    directory: Path,
    corpus: Path,
    members: list[Path],
    progress: RecordingProgress | None = None,
    *,
    workforce: Workforce | None = None,
    **changes: Any,
) -> TeacherSummary:
    directory.mkdir(exist_ok=True)
    return label_corpus(
        TeacherSettings.model_validate(SETTINGS | changes),
        members=members,
        corpus_directory=corpus,
        directory=directory,
        device="cpu",
        progress=progress or RecordingProgress(),
        workforce=workforce or ThisProcess(),
    )
