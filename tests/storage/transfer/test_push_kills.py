"""A push over ssh, killed before or after the Nth operation on the server: the same push goes on.

The default run tries the first operations, the slow test all of them:
`pytest -m slow tests/storage/transfer/test_push_kills.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.makers.store import fill_store, make_about
from tests.support.makers.transfer import same_store
from tests.support.paths import ROOT
from tests.support.servers.servers import sshd

pytest.importorskip("sshfs", reason="sshfs is not installed: pip install sshfs")

# A child for each point: it pushes, and is killed; another one pushes again.
PUSHES = """
import os, signal, sys
from storage.place.ssh_files import SshFiles
from storage.transfer.remote_target import RemoteTarget
from tests.support.makers.transfer import copy

store, url, first, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

def die_at(number):
    left = [number]
    def watched(name):
        act = getattr(SshFiles, name)
        def called(*arguments, **options):
            for moment in (0, 1):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                if moment == 0:
                    result = act(*arguments, **options)
            return result
        setattr(SshFiles, name, called)
    for name in ("put_file", "mv", "makedirs", "rm"):
        watched(name)

def push(place, number):
    pid = os.fork()
    if not pid:
        if number:
            die_at(number)
        copy(store, RemoteTarget(place, check=False), num_threads=1, careful=False)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

for number in range(first, last):
    place = f"{url}/{number}.zarr"
    status = push(place, number)
    assert status in (0, -9), (number, status)
    assert push(place, 0) == 0, f"killed at {number}, the push does not go on"
    if status == 0:
        break
print(number)
"""


def pushed(tmp_path: Path, *, first: int, last: int) -> int:
    """Kill at each point, push again, compare. Returns the point after the last one that fired."""
    store, there = tmp_path / "a.zarr", tmp_path / "there"
    about = make_about(num_classes=5, kept=1, shard_frames=12, chunk_frames=4)
    fill_store(store, about, (5, 0, 6, 3))
    (tmp_path / "ssh").mkdir()
    with sshd(tmp_path / "ssh") as address:
        done = subprocess.run(
            [sys.executable, "-c", PUSHES, str(store), f"{address}{there}", str(first), str(last)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=3500,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    copies = sorted(there.iterdir())
    assert copies
    assert all(same_store(store, copy) for copy in copies)
    return int(done.stdout)


def test_push_killed_at_its_first_operations_goes_on(tmp_path: Path) -> None:
    """RELIABILITY 33: also between the first upload and its rename."""
    assert pushed(tmp_path, first=1, last=6) == 5


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_push_killed_at_any_operation_goes_on(tmp_path: Path) -> None:
    """RELIABILITY 33: N = 1, 2, ... until it no longer fires."""
    assert pushed(tmp_path, first=1, last=10_000) > 30
