"""DecodingPool: decodes the utterances of a split in parallel processes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from stages.acoustic.lang.beam_search import BestPath
from stages.acoustic.lang.search_pool import search_each, search_processes
from stages.evaluate import decode_worker
from stages.evaluate.decode_worker import DecodeJob


class DecodingPool:
    """Processes that each hold the graph. `decoding_pool` makes one."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def decode(self, jobs: Sequence[DecodeJob]) -> Iterator[BestPath]:
        """Yield the best path of each job, in the order of the jobs, as each becomes known.

        Raises:
            StageError: if a process dies.
        """
        what = "a decoding process"
        return search_each(self._executor, decode_worker.decode, jobs, process=what)


@contextmanager
def decoding_pool(graph_directory: Path, *, processes: int) -> Iterator[DecodingPool]:
    """A pool for the duration of a `with` block; `processes` 0: one for each processor."""
    with search_processes(decode_worker.start, graph_directory, processes=processes) as executor:
        yield DecodingPool(executor)
