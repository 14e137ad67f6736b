"""Search pool: processes that each hold a decoding graph and search it for one utterance a job."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

from stages.contract.errors import StageError

JOBS_AT_ONCE = 4  # sent to a process in one message
Job = TypeVar("Job")
Found = TypeVar("Found")


@contextmanager
def search_processes(
    start: Callable[..., None], *arguments: Any, processes: int
) -> Iterator[ProcessPoolExecutor]:
    """Processes for the duration of a `with` block; `processes` 0: one for each processor.

    Each calls `start` with the arguments when the first job comes. They are spawned, since a fork
    of a process in which torch runs threads may hang.
    """
    executor = ProcessPoolExecutor(
        max_workers=processes or len(os.sched_getaffinity(0)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=start,
        initargs=arguments,
    )
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def search_each(
    executor: ProcessPoolExecutor,
    search: Callable[[Job], Found],
    jobs: Sequence[Job],
    *,
    process: str,
) -> Iterator[Found]:
    """Yield what `search` finds for each job, in the order of the jobs, as it becomes known.

    Raises:
        StageError: if a process dies; `process` says in the message what kind it is.
    """
    try:
        yield from executor.map(search, jobs, chunksize=JOBS_AT_ONCE)
    except BrokenProcessPool as cause:
        raise StageError(
            f"{process} died, perhaps out of memory: lower evaluate.processes, evaluate.beam or "
            "evaluate.max_active"
        ) from cause
