"""System calls of an import fail at the Nth call: nothing is lost, and a rerun resumes."""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.faults.outcomes import assert_ended_well, assert_whole_or_unreadable
from tests.support.faults.store_commands import COMMANDS, take_in_arrays
from tests.support.faults.system_calls import count_calls, every, spoil, why_no_faults
from tests.support.makers.store import tree_digest

pytestmark = pytest.mark.skipif(why_no_faults() != "", reason=why_no_faults())

CHANGING = ("write", "fsync", "rename", "link", "mkdir", "unlinkat")
STEP = 41


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("undisturbed")
    COMMANDS["import"].prepare(folder)
    take_in_arrays(folder / "0.zarr")
    return tree_digest(folder / "0.zarr")


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counter[str]:
    return count_calls(tmp_path_factory.mktemp("counts"), what="import")


def sweep(folder: Path, counts: Counter[str], undisturbed: str, *, fault: str, step: int) -> None:
    for outcome in spoil(folder, fault, every(counts, CHANGING, step=step), what="import"):
        assert_ended_well(outcome, fault)
        assert_whole_or_unreadable(outcome)
        take_in_arrays(outcome.path)
        assert tree_digest(outcome.path) == undisturbed, outcome


def test_import_killed_at_some_calls_resumes_to_the_same_bytes(
    tmp_path: Path, counts: Counter[str], undisturbed: str
) -> None:
    """RELIABILITY 1: killed at every 41st call that changes the disk."""
    sweep(tmp_path, counts, undisturbed, fault="signal=KILL", step=STEP)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["signal=KILL", "error=ENOSPC", "error=EIO", "retval=0"])
def test_import_spoiled_at_any_call_resumes_to_the_same_bytes(
    tmp_path: Path, counts: Counter[str], undisturbed: str, fault: str
) -> None:
    """RELIABILITY 1, 3, 4, 9: N = 1, 2, ... of each kind."""
    sweep(tmp_path, counts, undisturbed, fault=fault, step=1)
