"""System calls of an export fail at the Nth call: nothing half made, and a rerun resumes."""

from pathlib import Path

import pytest

from tests.support.faults.store_commands import COMMANDS, export
from tests.support.faults.system_calls import NAMED, RAW, count_calls, every, spoil, why_no_faults

pytestmark = pytest.mark.skipif(why_no_faults() != "", reason=why_no_faults())

CHANGING = ("write", "fsync", "rename", "mkdir", "unlink", "rmdir")


def made(path: Path) -> tuple[bytes, str]:
    """The archive and its scp, which names the archive."""
    scp = path.with_name(f"{path.name}.scp").read_text("utf-8")
    return path.read_bytes(), scp.replace(str(path), "ARCHIVE")


@pytest.mark.parametrize(
    "fault",
    [
        "signal=KILL",
        "error=EIO",
        pytest.param("error=ENOSPC", marks=pytest.mark.slow),
        pytest.param("retval=0", marks=pytest.mark.slow),
    ],
)
def test_export_spoiled_at_any_call_resumes_to_the_same_bytes(tmp_path: Path, fault: str) -> None:
    """RELIABILITY 1, 3, 4, 9: killed, refused or falsely successful, at every call that changes."""
    for name in ("counts", "undisturbed", "spoiled"):
        (tmp_path / name).mkdir()
    COMMANDS["export"].prepare(tmp_path / "undisturbed")
    export(tmp_path / "undisturbed/0.ark")
    wanted = made(tmp_path / "undisturbed/0.ark")
    counts = count_calls(tmp_path / "counts", what="export")
    assert min(counts[call] for call in ("write", "fsync", "rename", "mkdir")) >= 1
    points = every(counts, CHANGING, step=1)
    for outcome in spoil(tmp_path / "spoiled", fault, points, what="export"):
        assert outcome.status in ((-9,) if "KILL" in fault else (0, NAMED, RAW)), outcome
        if outcome.path.exists():
            assert outcome.path.read_bytes() == wanted[0], outcome
        export(outcome.path)
        assert made(outcome.path) == wanted, outcome
        left = outcome.path.with_name(f"{outcome.path.name}.partial")
        assert not left.exists(), outcome
