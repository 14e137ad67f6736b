"""PathPool: finds the paths of utterances in parallel processes."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from stages.acoustic.lang.beam_search import SearchLimits
from stages.contract.errors import StageError
from stages.labels import path_worker
from stages.labels.path_worker import FoundPath, PathJob
from stages.labels.settings import PathSettings

JOBS_AT_ONCE = 4  # sent to a process in one message


class PathPool:
    """Processes that each hold the graph. `path_pool` makes one."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def find(self, jobs: Sequence[PathJob]) -> Iterator[FoundPath]:
        """Yield the best path of each job, in the order of the jobs.

        Raises:
            StageError: if a process dies.
        """
        try:
            yield from self._executor.map(path_worker.find, jobs, chunksize=JOBS_AT_ONCE)
        except BrokenProcessPool as cause:
            raise StageError(
                "a process that finds paths died, perhaps out of memory: lower "
                "evaluate.processes, evaluate.beam or evaluate.max_active"
            ) from cause


@contextmanager
def path_pool(graph_directory: Path, settings: PathSettings) -> Iterator[PathPool]:
    """A pool for the duration of a `with` block; processes start when the first job comes.

    They are spawned, since a fork of a process in which torch runs threads may hang.
    """
    limits = SearchLimits(
        beam=settings.beam, max_active=settings.max_active, min_active=settings.min_active
    )
    executor = ProcessPoolExecutor(
        max_workers=settings.processes or len(os.sched_getaffinity(0)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=path_worker.start,
        initargs=(graph_directory, limits, settings.insertion_penalty),
    )
    try:
        yield PathPool(executor)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
