"""ClusterWorkforce: the teacher's shards on the workers of a Dask cluster, one shard a task.

A worker that dies costs the time of its shard: the scheduler gives it to another, and whoever
commits it first has written it. What fails everywhere is named after a few attempts. Knows nothing
of how the cluster came to be: workers.py does.
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

RETRIES = 1  # of a task that raises: a disk may have been away for a moment
POLL_SECONDS = 1.0
LOOK_SECONDS = 10.0  # without a result: who is there?
UNDECIDED = ("lost", "pending")  # a worker died with the result: another looks at that shard
GPU = "GPU"  # `dask worker --resources GPU=1`


class ClusterWorkforce:
    """Hands shards to whatever workers there are, now or later."""

    def __init__(self, client: Client, *, note: Callable[[str], None]) -> None:
        self._client = client
        self._note = note
        self._address = client.scheduler_info()["address"]
        self._said = ""

    def do(self, works: Sequence[ShardWork], *, task: Task) -> Generator[ShardDone]:
        """Each work once, in the order in which they are done.

        Raises:
            ClusterFailed: when the scheduler is gone, or workers die of a shard.
            EssenceError: what a worker found wrong.
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
        except (OSError, TimeoutError) as cause:  # what the client says when nobody answers
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
                self._say_who_is_missing(needs_gpu=needs_gpu)

    def _result(self, future: "Future[ShardDone]", work: ShardWork) -> ShardDone:
        if future.status == "finished":
            return future.result()
        if future.status == "cancelled":  # the client does that when its connection breaks
            raise self._lost()
        cause = future.exception()
        if isinstance(cause, EssenceError):
            raise cause
        shard = f"{work.ensemble.store}, shard {work.shard} ({work.utterances})"
        if isinstance(cause, KilledWorker):
            raise ClusterFailed(
                f"{shard}: {cause.allowed_failures + 1} workers died while they labelled it, the "
                f"last one was {cause.last_worker.address}: see its log; where memory is short, "
                "lower teacher.batch_frames or teacher.loaded_megabytes. The same command goes on"
            ) from cause
        raise ClusterFailed(
            f"{shard}: a worker failed: {type(cause).__name__}: {cause}: "
            "is the same essence installed on every machine? The same command goes on"
        ) from cause

    def _lost(self) -> ClusterFailed:
        return ClusterFailed(
            f"the scheduler at {self._address} does not answer any more: start it and its workers "
            "again; the same command goes on, shards that were committed are not made again"
        )

    def _refuse_unfit_workers(self, ensemble: Ensemble) -> None:
        """Ask everybody who is there; who comes later is asked with its first shard."""
        found = self._client.run(_look, ensemble, on_error="return")
        for worker, answer in found.items():
            if isinstance(answer, EssenceError):
                raise type(answer)(f"worker {worker}: {answer}") from answer
            if isinstance(answer, BaseException):
                raise ClusterFailed(
                    f"worker {worker} cannot be asked: {type(answer).__name__}: {answer}: "
                    "install the same essence there"
                ) from answer
        if len({*found.values()}) > 1:
            kinds = ", ".join(
                f"{number} of {name}" for name, number in Counter(found.values()).items()
            )
            self._note(f"workers are unlike each other ({kinds}): last bits may differ")
        for worker, state in self._workers().items():
            if state["nthreads"] > 1:
                self._note(
                    f"worker {worker} has {state['nthreads']} threads and labels one shard at a "
                    "time: start workers with --nthreads 1"
                )

    def _say_who_is_missing(self, *, needs_gpu: bool) -> None:
        workers = self._workers().values()
        missing = ""
        if not workers:
            missing = f"no worker yet: start them with 'dask worker {self._address}'"
        elif needs_gpu and not any(state["resources"].get(GPU) for state in workers):
            missing = "no worker has a GPU to give: start them with --resources GPU=1"
        if missing and missing != self._said:
            self._note(f"waiting: {missing}")
        self._said = missing

    def _workers(self) -> dict[str, Any]:
        return dict(self._client.scheduler_info()["workers"])

    def _cancel(self, futures: "Sequence[Future[ShardDone]]") -> None:
        with suppress(Exception):  # the scheduler may be gone, and with it what was to be cancelled
            self._client.cancel(futures)


def _needs_gpu(ensemble: Ensemble) -> bool:
    return ensemble.device.startswith("cuda")


@functools.cache
def _labeller() -> Labeller:
    """This worker process's own: what it has loaded stays for its next shard."""
    return Labeller()


def _do(work: ShardWork) -> ShardDone:
    try:
        with SilentProgress().task("", total=0, unit="") as task:
            return _labeller().do(work, task=task)
    except EssenceError as error:
        told = type(error)(str(error))
    raise told  # alone: what caused it may hold what cannot travel, and it would be lost with it


def _look(ensemble: Ensemble) -> str:
    """What this worker computes with; it has then loaded what it needs."""
    return _labeller().probe(ensemble)
