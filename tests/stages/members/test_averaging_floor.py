"""The averaging floor: a teacher reads archives as if every value were at least e^-87.3."""

from pathlib import Path

import numpy as np
import pytest

from stages.contract.progress import SilentProgress
from stages.members.archived_posteriors import read_archive_about
from stages.members.ensemble_posteriors import LOG_FLOOR, Combine
from stages.teacher.label import label_corpus
from stages.teacher.settings import TeacherSettings
from stages.teacher.workforce import ThisProcess
from storage.read.reader import open_store
from tests.support.makers.archives import make_archived_member, sharp_posteriors
from tests.support.makers.training import NUM_CLASSES, make_corpus_directory

pytestmark = pytest.mark.usefixtures("no_waiting_for_the_disk")

SEEDS = (5, 6)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus_directory(tmp_path_factory.mktemp("corpus"))


def members(directory: Path, corpus: Path, *, floor: float) -> list[Path]:
    drawn = [sharp_posteriors(seed, num_classes=NUM_CLASSES, floor=floor) for seed in SEEDS]
    places = [directory / f"member-{seed}" for seed in SEEDS]
    return [make_archived_member(p, corpus, d) for p, d in zip(places, drawn, strict=True)]


@pytest.fixture(scope="module")
def as_given(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> list[Path]:
    """Members whose archives hold values far below the floor, and zeros."""
    return members(tmp_path_factory.mktemp("given"), corpus, floor=-np.inf)


@pytest.fixture(scope="module")
def floored(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> list[Path]:
    """The same members with archives whose values were raised to the floor before writing."""
    return members(tmp_path_factory.mktemp("floored"), corpus, floor=float(LOG_FLOOR))


def digests(directory: Path, corpus: Path, members: list[Path], combine: Combine) -> list[str]:
    label_corpus(
        TeacherSettings(kept=NUM_CLASSES, combine=combine, shard_frames=140, chunk_frames=20),
        members=members,
        corpus_directory=corpus,
        directory=directory,
        device="cpu",
        progress=SilentProgress(),
        workforce=ThisProcess(),
    )
    return [open_store(directory / f"{split}.zarr").digest for split in ("train", "dev")]


def test_floor_is_the_smallest_normal_float32() -> None:
    assert np.exp(np.float64(LOG_FLOOR)) == pytest.approx(float(np.finfo(np.float32).tiny))


def test_fingerprint_of_a_member_is_of_floored_posteriors(
    as_given: list[Path], floored: list[Path]
) -> None:
    for given, raised in zip(as_given, floored, strict=True):
        assert read_archive_about(given).fingerprint == read_archive_about(raised).fingerprint


@pytest.mark.parametrize("combine", ["arithmetic", "geometric"])
@pytest.mark.parametrize("num_members", [1, 2])
def test_store_of_archived_members_has_the_bytes_of_floored_archives(
    tmp_path: Path,
    corpus: Path,
    as_given: list[Path],
    floored: list[Path],
    combine: Combine,
    num_members: int,
) -> None:
    for name in ("given", "floored"):
        (tmp_path / name).mkdir()
    found = digests(tmp_path / "given", corpus, as_given[:num_members], combine)
    assert found == digests(tmp_path / "floored", corpus, floored[:num_members], combine)
