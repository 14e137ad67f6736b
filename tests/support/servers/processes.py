"""Processes of several kinds that read one store on a server."""

import os
import subprocess
import sys
from pathlib import Path

PROCESSES = """
import multiprocessing, os, sys
import fsspec
from storage.read.reader import open_store

def checksum(store, seed):
    labels = store.read(range(seed, seed + 300), k=9)
    return int(labels.ids_TK.sum()) + float(labels.logp_TK.sum())

if __name__ == "__main__":
    url, folder, *methods = sys.argv[1:]
    if url.startswith("memory:"):
        fsspec.filesystem("memory").put(folder, url, recursive=True)
    store = open_store(url, cache_bytes=0)
    wanted = [checksum(open_store(folder), seed) for seed in range(4)]
    assert [checksum(store, seed) for seed in range(4)] == wanted
    child = os.fork()  # it has the store as it is, connected
    if child == 0:
        os._exit(0 if [checksum(store, seed) for seed in range(4)] == wanted else 1)
    assert os.waitpid(child, 0)[1] == 0
    for method in methods:
        with multiprocessing.get_context(method).Pool(2) as pool:
            jobs = [pool.apply_async(checksum, (store, seed)) for seed in range(4)]
            assert [job.get(20) for job in jobs] == wanted, method
    print("same")
"""


def run_processes(tmp_path: Path, *arguments: str) -> None:
    """Read in processes of these kinds, and here."""
    script = tmp_path / "processes.py"  # a spawned process imports it
    script.write_text(PROCESSES)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("same\n", 0), done.stderr
