"""DecodingPool: decodes the utterances of a split in parallel processes."""

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from stages.acoustic.lang.beam_search import BestPath
from stages.contract.errors import StageError
from stages.evaluate import decode_worker
from stages.evaluate.decode_worker import DecodeJob

JOBS_AT_ONCE = 4  # sent to a process in one message


class DecodingPool:
    """Processes that each hold the graph. `decoding_pool` makes one."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def decode(self, jobs: Sequence[DecodeJob]) -> Iterator[BestPath]:
        """Yield the best path of each job, in the order of the jobs, as each becomes known.

        Raises:
            StageError: if a process dies.
        """
        try:
            yield from self._executor.map(decode_worker.decode, jobs, chunksize=JOBS_AT_ONCE)
        except BrokenProcessPool as cause:
            raise StageError(
                "a decoding process died, perhaps out of memory: lower evaluate.processes, "
                "evaluate.beam or evaluate.max_active"
            ) from cause


@contextmanager
def decoding_pool(graph_directory: Path, *, processes: int) -> Iterator[DecodingPool]:
    """A pool for the duration of a `with` block; `processes` 0: one for each available processor.

    The processes are spawned, since a fork of a process in which torch runs threads may hang.
    """
    executor = ProcessPoolExecutor(
        max_workers=processes or len(os.sched_getaffinity(0)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=decode_worker.start,
        initargs=(graph_directory,),
    )
    try:
        yield DecodingPool(executor)
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
