"""System calls of a merge fail at the Nth call: nothing is lost, and a rerun resumes."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.faults.outcomes import assert_ended_well, assert_whole_or_unreadable
from tests.support.faults.store_commands import merge, prepare
from tests.support.faults.system_calls import (
    Outcome,
    count_calls,
    every,
    spoil,
    why_no_faults,
)
from tests.support.makers.store import tree_digest

pytestmark = pytest.mark.skipif(why_no_faults() != "", reason=why_no_faults())

CHANGING = ("write", "fsync", "rename", "link", "mkdir", "unlinkat")
STEP = 29


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("undisturbed")
    prepare(folder)
    merge(folder / "0.zarr")
    return tree_digest(folder / "0.zarr")


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    counts = count_calls(tmp_path_factory.mktemp("counts"), what="merge")
    assert min(counts[call] for call in CHANGING) >= 1
    return counts


def assert_resumes(outcome: Outcome, undisturbed: str) -> None:
    assert_whole_or_unreadable(outcome)
    merge(outcome.path)
    assert tree_digest(outcome.path) == undisturbed, outcome


def sweep(folder: Path, counts: Counter[str], undisturbed: str, *, fault: str, step: int) -> None:
    points = every(counts, CHANGING, step=step)
    sources = None
    for outcome in spoil(folder, fault, points, what="merge"):
        sources = sources or tree_digest(folder / "sources")
        assert_ended_well(outcome, fault)
        assert_resumes(outcome, undisturbed)
    assert tree_digest(folder / "sources") == sources  # what is read is not touched


@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "retval=0"])
def test_merge_spoiled_at_some_calls_resumes_to_the_same_bytes(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 1, 3, 9: killed, refused or falsely successful, at every 29th call."""
    sweep(tmp_path, counts, undisturbed, fault=fault, step=STEP)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO", "retval=0"])
def test_merge_spoiled_at_any_call_resumes_to_the_same_bytes(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 1, 3, 4, 9: N = 1, 2, ... of each kind."""
    sweep(tmp_path, counts, undisturbed, fault=fault, step=1)
