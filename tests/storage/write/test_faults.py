"""System calls of a writer fail at the Nth call: killed, refused, or wrongly reported as done.

The default run tries every 29th call; `pytest -m slow tests/storage/write/test_faults.py` all.
"""

import re
from collections import Counter
from pathlib import Path

import pytest

from storage.errors import StoreError
from storage.read.reader import open_store
from tests.support.faults.store_commands import build
from tests.support.faults.system_calls import (
    NAMED,
    Outcome,
    Point,
    count_calls,
    every,
    spoil,
    why_no_faults,
)
from tests.support.makers.store import tree_digest

pytestmark = pytest.mark.skipif(why_no_faults() != "", reason=why_no_faults())

MOST_CALLS = 600  # of one kind, in a sweep
LONGEST_POINT = 5  # seconds of a kill and the build after it, on a machine with other work
CHANGING = ("write", "fsync", "rename", "link", "mkdir", "unlinkat")  # unlink: only after errors
# Fault, the calls that can meet it.
REFUSALS: dict[str, tuple[str, ...]] = {
    "error=EIO": CHANGING,
    "error=EIO+": ("write", "fsync", "rename", "mkdir"),
    "error=ENOSPC": ("write", "fsync", "rename", "link", "mkdir"),
    "error=ENOSPC+": ("write",),
    "error=EDQUOT": ("write",),
    "error=EROFS+": ("mkdir", "rename"),
    "error=EROFS": ("openat",),
    "error=EACCES": ("openat",),
    "error=ESTALE": ("openat",),
    "error=ENODEV": ("openat",),
}
LIES: dict[str, tuple[str, ...]] = {"retval=1": ("write",), "retval=0": CHANGING[1:]}
STEP = 29


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("undisturbed") / "0.zarr"
    build(path)
    return tree_digest(path)


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    counts = count_calls(tmp_path_factory.mktemp("counts"))
    assert min(counts[call] for call in CHANGING) >= 1
    assert not counts["unlink"]
    assert not counts["pwrite64"]
    return counts


def assert_not_half_read(path: Path) -> None:
    """Assert that a reader gets a whole store, or an error while HEAD is absent."""
    if (path / "HEAD").exists():
        open_store(path).verify()
    else:
        with pytest.raises(StoreError, match=r"is not there|under construction"):
            open_store(path)


def assert_resumes(outcome: Outcome, undisturbed: str) -> None:
    assert_not_half_read(outcome.path)
    build(outcome.path)
    assert tree_digest(outcome.path) == undisturbed, outcome


def kill(folder: Path, points: list[Point], undisturbed: str) -> None:
    for outcome in spoil(folder, "signal=KILL", points):
        assert outcome.status == -9, outcome
        assert_resumes(outcome, undisturbed)


def refuse(folder: Path, fault: str, points: list[Point], undisturbed: str) -> None:
    """Assert that every build succeeds or fails with a StoreError."""
    for outcome in spoil(folder, fault, points):
        assert outcome.status in (0, NAMED), outcome
        if "ENOSPC" in fault and outcome.status:
            needed = r"No space left on device\): \d+ bytes are needed, \d+ are free"
            assert re.search(needed, outcome.message), outcome
        if outcome.status == 0:
            open_store(outcome.path).verify()
        assert_resumes(outcome, undisturbed)


def test_writer_killed_at_some_calls_resumes_to_the_same_bytes(
    tmp_path: Path, counts: Counter[str], undisturbed: str
) -> None:
    """RELIABILITY 1: at every 29th call of each kind."""
    kill(tmp_path, every(counts, CHANGING, step=STEP), undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(MOST_CALLS * LONGEST_POINT)
@pytest.mark.parametrize("call", [*CHANGING, "openat"])
def test_writer_killed_at_every_call_resumes_to_the_same_bytes(
    tmp_path: Path, counts: Counter[str], undisturbed: str, call: str
) -> None:
    """RELIABILITY 1: N = 1, 2, ... until it no longer fires."""
    kill(tmp_path, every(counts, [call], step=1), undisturbed)
    if call == "openat":  # the C library opens files of its own now and then
        return
    (after,) = spoil(tmp_path, "signal=KILL", [(call, counts[call] + 1)])
    assert after.status == 0
    assert tree_digest(after.path) == undisturbed


@pytest.mark.parametrize("fault", ["error=EIO", "error=ENOSPC", "error=EROFS+"])
def test_refusal_at_some_calls_is_named_and_the_build_resumes(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 3, 4, 13: full disk, EIO, read-only, at every 29th call."""
    refuse(tmp_path, fault, every(counts, REFUSALS[fault], step=STEP), undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(MOST_CALLS * LONGEST_POINT)
@pytest.mark.parametrize("fault", REFUSALS)
def test_refusal_at_every_call_is_named_and_the_build_resumes(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 3, 4, 13: N = 1, 2, ... until it no longer fires."""
    refuse(tmp_path, fault, every(counts, REFUSALS[fault], step=1), undisturbed)


def test_failed_flush_costs_a_rewrite_only(tmp_path: Path, undisturbed: str) -> None:
    """RELIABILITY 4: the temporary file is dropped and written again; the build continues."""
    outcomes = spoil(tmp_path, "error=EIO", [("fsync", 2), ("fsync", 5), ("fsync", 11)])
    assert [outcome.status for outcome in outcomes] == [0, 0, 0]
    assert all(tree_digest(outcome.path) == undisturbed for outcome in outcomes)


@pytest.mark.parametrize("fault", LIES)
def test_false_success_at_some_calls_is_found(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 9: the system reports success and has done nothing, or less. Every 29th call."""
    refuse(tmp_path, fault, every(counts, LIES[fault], step=STEP), undisturbed)


@pytest.mark.slow
@pytest.mark.timeout(MOST_CALLS * LONGEST_POINT)
@pytest.mark.parametrize("fault", LIES)
def test_false_success_at_every_call_is_found(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 9: N = 1, 2, ... until it no longer fires."""
    refuse(tmp_path, fault, every(counts, LIES[fault], step=1), undisturbed)
