"""PathPool: finds the paths of utterances in parallel processes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from stages.acoustic.lang.beam_search import SearchLimits
from stages.acoustic.lang.search_pool import search_each, search_processes
from stages.labels import path_worker
from stages.labels.path_worker import FoundPath, PathJob
from stages.labels.settings import PathSettings


class PathPool:
    """Processes that each hold the graph. `path_pool` makes one."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    def find(self, jobs: Sequence[PathJob]) -> Iterator[FoundPath]:
        """Yield the best path of each job, in the order of the jobs.

        Raises:
            StageError: if a process dies.
        """
        what = "a process that finds paths"
        return search_each(self._executor, path_worker.find, jobs, process=what)


@contextmanager
def path_pool(graph_directory: Path, settings: PathSettings) -> Iterator[PathPool]:
    """A pool for the duration of a `with` block."""
    limits = SearchLimits(
        beam=settings.beam, max_active=settings.max_active, min_active=settings.min_active
    )
    arguments = (graph_directory, limits, settings.insertion_penalty)
    with search_processes(path_worker.start, *arguments, processes=settings.processes) as executor:
        yield PathPool(executor)
