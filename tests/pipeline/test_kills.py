"""Every command killed at a system call, and run again: the same bytes, and no leftover in them.

The default run tries a few calls of each kind; `pytest -m slow tests/pipeline/test_kills.py` all.
"""

import hashlib
from pathlib import Path

import pytest

from storage.files.leftovers import is_leftover
from storage.format.records import STAGE
from tests.support.faults.system_calls import (
    THREAD,
    Point,
    count_calls,
    every,
    find_command,
    spoil,
    why_no_faults,
)

pytestmark = pytest.mark.skipif(why_no_faults() != "", reason=why_no_faults())

CHANGING = ("write", "pwrite64", "fsync", "rename", "link", "mkdir", "unlink", "unlinkat", "rmdir")
CALLS = (*CHANGING, *(call + THREAD for call in CHANGING))
STORES = ("split", "recode", "copy", "copy of a part")
ARTEFACTS = ("corpus", "graph", "evaluate", "report")
NOT_COMPARED = "made.json"  # it may state when and where an artefact was made


def content_of(root: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, and the names of folders and links."""
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(
            path.read_bytes() if path.is_file() and path.name != NOT_COMPARED else b""
        ).hexdigest()
        for path in root.rglob("*")
    }


def kill(what: str, folder: Path, points: list[Point]) -> int:
    """Kill at each point, run again, compare. Returns how many runs were killed."""
    command = find_command(what)
    outcomes = spoil(folder, "signal=KILL", points, what=what)
    whole = folder / "whole.zarr"
    command.run(whole)
    wanted = content_of(whole)
    assert not [name for name in wanted if is_leftover(Path(name).name) or STAGE in name]
    for outcome in outcomes:
        assert outcome.status in (0, -9), outcome
        command.run(outcome.path)
        assert content_of(outcome.path) == wanted, outcome
    return sum(outcome.status == -9 for outcome in outcomes)


def test_copy_killed_at_some_calls_continues_to_the_same_bytes(tmp_path: Path) -> None:
    """RELIABILITY 33: a push to a folder, or a pull; also at its first rename."""
    main = [("write", 1), ("fsync", 2), ("rename", 1), ("rename", 3), ("mkdir", 2), ("unlinkat", 1)]
    others = [("write", 2), ("fsync", 3), ("rename", 1), ("mkdir", 1)]
    points = [*main, *((call + THREAD, n) for call, n in others)]
    assert kill("copy", tmp_path, points) == len(points)


def test_split_killed_at_some_calls_continues_to_the_same_bytes(tmp_path: Path) -> None:
    """RELIABILITY 33: a split writes as a merge does."""
    points = [("rename", 1), ("fsync", 9), ("link", 1)]
    assert kill("split", tmp_path, points) == len(points)


def test_stage_killed_at_some_calls_publishes_no_leftover(tmp_path: Path) -> None:
    """RELIABILITY 33: the partial files of a killed run are not part of the artefact."""
    points = [(call, n) for call in ("write", "fsync", "rename", "unlinkat") for n in (1, 7)]
    assert kill("corpus", tmp_path, points) >= 6


def test_evaluation_killed_at_its_first_rename_publishes_no_leftover(tmp_path: Path) -> None:
    """RELIABILITY 33: one call, since a run takes seconds."""
    assert kill("evaluate", tmp_path, [("rename", 1)]) == 1


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("what", [*STORES, *ARTEFACTS])
def test_command_killed_at_every_call_continues_to_the_same_bytes(
    what: str, tmp_path: Path
) -> None:
    """RELIABILITY 33: N = 1, 2, ... of each kind."""
    for name in ("count", "killed"):
        (tmp_path / name).mkdir()
    counts = count_calls(tmp_path / "count", what=what)
    points = every(counts, CALLS, step=1)
    assert kill(what, tmp_path / "killed", points) == len(points)
    print(f"{what}: {len(points)} kills, the same bytes after each")
