"""ClusterWorkforce: the teacher's shards on the workers of a Dask cluster, one shard a task.

When a worker dies, the scheduler gives its shard to another; the first commit of a shard counts. A
shard that fails on several workers is an error that names it. How the cluster is started or found
is in workers.py.
"""

import functools
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker

from pipeline.errors import ClusterFailed
from stages.contract.progress import SilentProgress, Task
from stages.teacher.shard_work import Ensemble, Labeller, ShardDone, ShardWork
from storage.errors import EssenceError

RETRIES = 1  # of a task that raises, since a network file system may fail for a moment
POLL_SECONDS = 1.0
LOOK_SECONDS = 10.0  # without a result, until workers are counted
UNDECIDED = ("lost", "pending")  # a worker died with the result: the shard is done again
GPU = "GPU"  # `dask worker --resources GPU=1`


class ClusterWorkforce:
    """Submits shards to the workers of a scheduler, also to those that join later."""

    def __init__(self, client: Client, *, note: Callable[[str], None]) -> None:
        self._client = client
        self._note = note
        self._address = client.scheduler_info()["address"]
        self._noted = ""

    def do(self, works: Sequence[ShardWork], *, task: Task) -> Generator[ShardDone]:
        """Each work once, in the order in which they are done.

        Raises:
            ClusterFailed: when the scheduler does not answer, or a shard kills its workers.
            EssenceError: raised by a worker.
        """
        if not works:
            return
        run = uuid4().hex
        under_way: dict[object, tuple[Future[ShardDone], ShardWork]] = {}
        finished: SimpleQueue[Future[ShardDone]] = SimpleQueue()
        try:
            self._refuse_unfit_workers(works[0].ensemble)
            for work in works:
                future = self._submit(work, run=run)
                under_way[future.key] = future, work
                future.add_done_callback(finished.put)
            while under_way:
                future = self._next(finished, needs_gpu=_needs_gpu(works[0].ensemble))
                if future.status in UNDECIDED:
                    future.add_done_callback(finished.put)
                    continue
                _, work = under_way.pop(future.key)
                done = self._result(future, work)
                shards = f"{len(works) - len(under_way)}/{len(works)}"
                task.advance(work.num_frames * len(work.ensemble.members), shards=shards)
                yield done
        except (
            OSError,
            TimeoutError,
        ) as cause:  # of the client, when the scheduler does not answer
            raise self._lost() from cause
        finally:
            self._cancel([future for future, _ in under_way.values()])

    def _submit(self, work: ShardWork, *, run: str) -> "Future[ShardDone]":
        return self._client.submit(
            _do,
            work,
            key=f"shard-{work.shard}-{run}",
            pure=False,
            retries=RETRIES,
            resources={GPU: 1} if _needs_gpu(work.ensemble) else None,
        )

    def _next(
        self, finished: "SimpleQueue[Future[ShardDone]]", *, needs_gpu: bool
    ) -> "Future[ShardDone]":
        waited = 0.0
        while True:
            with suppress(Empty):
                return finished.get(timeout=POLL_SECONDS)
            waited += POLL_SECONDS
            if waited % LOOK_SECONDS < POLL_SECONDS:
                self._note_missing(needs_gpu=needs_gpu)

    def _result(self, future: "Future[ShardDone]", work: ShardWork) -> ShardDone:
        if future.status == "finished":
            return future.result()
        if future.status == "cancelled":  # the client's connection broke
            raise self._lost()
        cause = future.exception()
        if isinstance(cause, EssenceError):
            raise cause
        shard = f"{work.ensemble.store}, shard {work.shard} ({work.utterances})"
        if isinstance(cause, KilledWorker):
            raise ClusterFailed(
                f"{shard}: {cause.allowed_failures + 1} workers died while they labelled it, the "
                f"last one was {cause.last_worker.address}: see its log. If it ran out "
                "of memory, lower teacher.batch_frames or teacher.loaded_megabytes. Then run the "
                "same command again"
            ) from cause
        raise ClusterFailed(
            f"{shard}: a worker failed: {type(cause).__name__}: {cause}: "
            "install the same essence on every machine, then run the same command again"
        ) from cause

    def _lost(self) -> ClusterFailed:
        return ClusterFailed(
            f"the scheduler at {self._address} does not answer any more: start it and its workers "
            "again, then run the same command: committed shards are not made again"
        )

    def _refuse_unfit_workers(self, ensemble: Ensemble) -> None:
        """Check the workers that are connected; later ones are checked with their first shard."""
        found = self._client.run(_look, ensemble, on_error="return")
        for worker, answer in found.items():
            if isinstance(answer, EssenceError):
                raise type(answer)(f"worker {worker}: {answer}") from answer
            if isinstance(answer, BaseException):
                raise ClusterFailed(
                    f"worker {worker} cannot be checked: {type(answer).__name__}: {answer}: "
                    "install the same essence there"
                ) from answer
        if len({*found.values()}) > 1:
            kinds = ", ".join(
                f"{number} of {name}" for name, number in Counter(found.values()).items()
            )
            self._note(f"workers differ ({kinds}): last bits of their results may differ")
        for worker, state in self._workers().items():
            if state["nthreads"] > 1:
                self._note(
                    f"worker {worker} has {state['nthreads']} threads and labels one shard at a "
                    "time: start workers with --nthreads 1"
                )

    def _note_missing(self, *, needs_gpu: bool) -> None:
        workers = self._workers().values()
        missing = ""
        if not workers:
            missing = f"no worker yet: start workers with 'dask worker {self._address}'"
        elif needs_gpu and not any(state["resources"].get(GPU) for state in workers):
            missing = "no worker offers a GPU: start workers with --resources GPU=1"
        if missing and missing != self._noted:
            self._note(f"waiting: {missing}")
        self._noted = missing

    def _workers(self) -> dict[str, Any]:
        return dict(self._client.scheduler_info()["workers"])

    def _cancel(self, futures: "Sequence[Future[ShardDone]]") -> None:
        with suppress(Exception):  # the scheduler may have ended, and the tasks with it
            self._client.cancel(futures)


def _needs_gpu(ensemble: Ensemble) -> bool:
    return ensemble.device.startswith("cuda")


@functools.cache
def _labeller() -> Labeller:
    """One for each worker process: loaded members stay for its next shard."""
    return Labeller()


def _do(work: ShardWork) -> ShardDone:
    try:
        with SilentProgress().task("", total=0, unit="") as task:
            return _labeller().do(work, task=task)
    except EssenceError as error:
        plain = type(error)(str(error))
    raise plain  # without its cause, which may not be picklable


def _look(ensemble: Ensemble) -> str:
    """Versions and hardware of this worker, after it has loaded the ensemble."""
    return _labeller().probe(ensemble)
