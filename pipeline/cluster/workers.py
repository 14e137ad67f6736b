"""Workers: the processes that label the teacher's shards: this one, local ones, or a Dask cluster.

Dask's protocol is pickle without authentication: a program that reaches a port can run code. So
the local cluster listens on loopback only, and a scheduler on another machine must use TLS.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from logging import CRITICAL
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.cluster.options import Workers
from pipeline.errors import ClusterFailed, SettingsError
from stages.contract.errors import MissingPart
from stages.contract.progress import Progress
from stages.teacher.label import label_corpus
from stages.teacher.settings import TeacherSettings
from stages.teacher.workforce import ThisProcess, Workforce

if TYPE_CHECKING:
    from distributed import SpecCluster

LOOPBACK = "127.0.0.1"
CONNECT_SECONDS = 20
SILENT = CRITICAL + 1  # a scheduler whose client has left reports that as critical
# In a terminal Ctrl-C reaches all processes; only the command itself must act on it.
BEGIN_AS_CHILD = """
import signal
from stages.contract.child_process import end_with_parent
end_with_parent()
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
"""


def label_with_workers(
    settings: TeacherSettings,
    *,
    members: Sequence[Path],
    corpus_directory: Path,
    graph_directory: Path | None,
    directory: Path,
    device: str,
    progress: Progress,
    workers: Workers,
) -> None:
    """The teacher stage, its shards done by `workers`. Raises as `workforce` and `label_corpus`."""
    with workforce(workers, device=device, note=progress.note) as started:
        label_corpus(
            settings,
            members=members,
            corpus_directory=corpus_directory,
            graph_directory=graph_directory,
            directory=directory,
            device=device,
            progress=progress,
            workforce=started,
        )


@contextmanager
def workforce(workers: Workers, *, device: str, note: Callable[[str], None]) -> Iterator[Workforce]:
    """What labels the shards, until the context ends.

    Raises:
        MissingPart: when Dask is needed and not installed.
        ClusterFailed: when no scheduler answers.
    """
    if workers.number is None and workers.scheduler is None:
        yield ThisProcess()
        return
    if find_spec("distributed") is None:
        raise MissingPart(
            "--workers and --scheduler need Dask, which is not installed: "
            "run 'pip install dask distributed'"
        )
    # Here, not at the top: it takes a second to load, and may not be installed.
    from distributed import Client

    from pipeline.cluster.dask_workforce import ClusterWorkforce

    if workers.scheduler is not None:
        with _client(Client, workers.scheduler) as client:
            yield ClusterWorkforce(client, note=note)
        return
    assert workers.number is not None
    with (
        _local_cluster(workers.number, device=device) as cluster,
        _client(Client, cluster) as client,
    ):
        yield ClusterWorkforce(client, note=note)


@contextmanager
def _client(kind: Any, address: "str | SpecCluster") -> Iterator[Any]:
    try:
        client = kind(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError, TypeError, ValueError) as cause:
        raise ClusterFailed(
            f"no scheduler answers at {address} ({cause}): is 'dask scheduler' running there, and "
            "are the certificates set (docs/cluster.md)?"
        ) from cause
    with client:
        yield client


@contextmanager
def _local_cluster(number: int, *, device: str) -> "Iterator[SpecCluster]":
    """A scheduler in this process, and `number` worker processes; all listen on loopback."""
    import dask
    from distributed import Nanny, Scheduler, Security, SpecCluster
    from distributed.utils import silence_logging_cmgr

    listens: dict[str, Any] = {"host": LOOPBACK, "dashboard_address": f"{LOOPBACK}:0"}
    plain = Security(require_encryption=False)  # overrides Dask's own configuration
    with (
        tempfile.TemporaryDirectory(prefix="essence-workers-") as scratch,
        dask.config.set(
            {"temporary-directory": scratch}
        ),  # otherwise the scheduler leaves a folder
        silence_logging_cmgr(SILENT),  # also of what happens after the cluster is closed
    ):
        options = {
            **listens,
            "nthreads": 1,
            "memory_limit": 0,  # none: Dask would kill workers at a share that it guesses
            "local_directory": scratch,
            "preload": [BEGIN_AS_CHILD],
            "silence_logs": SILENT,
            "security": plain,
        }
        cluster = SpecCluster(
            scheduler={
                "cls": Scheduler,
                "options": {**listens, "port": 0, "dashboard": False, "security": plain},
            },
            workers={
                index: {"cls": Nanny, "options": {**options, **own}}
                for index, own in enumerate(_own_options(number, device=device))
            },
            security=plain,
            silence_logs=SILENT,
        )
        with cluster:
            yield cluster


def _own_options(number: int, *, device: str) -> list[dict[str, Any]]:
    """Options of each local worker: its GPU."""
    if not device.startswith("cuda"):
        return [{} for _ in range(number)]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    cards = visible.split(",") if visible else list(map(str, range(torch.cuda.device_count())))
    if device != "cuda" or number > len(cards):
        raise SettingsError(
            f"--workers {number} with device {device}: this machine has {len(cards)} GPUs and each "
            "worker takes one: use --device cuda, and at most as many workers as GPUs"
        )
    return [
        {"env": {"CUDA_VISIBLE_DEVICES": card}, "resources": {"GPU": 1}} for card in cards[:number]
    ]
