"""Models side by side: several processes, each making one model at a time.

A process does what `essence ensemble` or `essence student` does for one model and sends its
progress to the parent (model_process.py). The parent alone receives Ctrl-C; it interrupts every
child once, and each writes a checkpoint. A child ends with the parent.

A model has as many threads with one process as with several (`threads` of the settings), so the
number of processes changes no result.
"""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from pipeline.errors import ModelsFailed
from pipeline.job import Job
from pipeline.model_process import Make, Message, make_models
from pipeline.shelf.contents import read_json
from pipeline.shelf.record import Recipe
from stages.contract.progress import Task
from stages.contract.results import CorpusSummary, SplitSummary
from stages.training.interrupts import noticed_interrupts

LISTEN_SECONDS = 0.2  # longest time until Ctrl-C is noticed
# Of all models together, before several processes are the default: each takes two or three seconds
# of processor time to start, in which a model reads some tens of thousands of frames.
WORTH_FRAMES = 500_000
SPAWN = multiprocessing.get_context("spawn")  # a fork would share torch's threads


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """A model to be made: how, and how many frames of train it reads on the way, about."""

    recipe: Recipe
    num_frames: Callable[[SplitSummary], int]
    make: Make

    @property
    def name(self) -> str:
        """As it is shown: `member tdnn`, `student k=8`."""
        return f"{self.recipe.stage} {self.recipe.shown_as}"


def make_each(job: Job, models: Sequence[Model]) -> None:
    """Make those that are not fresh, in turn or side by side, as `job.num_jobs` asks.

    In turn the first failure is raised. Side by side, the others are made nevertheless.

    Raises:
        ModelsFailed: when some of several have failed, with the reason of each.
        KeyboardInterrupt: as `make_side_by_side`.
    """
    waiting = [model for model in models if not job.is_fresh(model.recipe)]
    num_jobs = _num_processes(job, waiting)
    if num_jobs == 1:
        for model in waiting:
            model.make(job)
        return
    failures = make_side_by_side(job, waiting, num_jobs=num_jobs)
    if failures:
        lines = [f"  {model.name}: {why}" for model, why in failures.items()]
        head = f"{len(failures)} of {len(waiting)} models failed; the others are kept:"
        raise ModelsFailed("\n".join([head, *lines]))


def _num_processes(job: Job, models: Sequence[Model]) -> int:
    """How many processes make the models; 1: none but this one."""
    if job.num_jobs is not None or job.settings.device != "cpu" or len(models) < 2:
        return max(1, min(job.num_jobs or 1, len(models)))
    num_frames = sum(_frames_of(job, models).values())
    num_processors = len(os.sched_getaffinity(0)) // job.settings.threads
    return max(1, min(num_processors, len(models))) if num_frames >= WORTH_FRAMES else 1


def _frames_of(job: Job, models: Sequence[Model]) -> dict[Model, int]:
    summary = read_json(CorpusSummary, job.need(job.recipes.corpus) / "summary.json")
    return {model: model.num_frames(summary.train) for model in models}


def make_side_by_side(job: Job, models: Sequence[Model], *, num_jobs: int) -> dict[Model, str]:
    """Make models, `num_jobs` at a time. Returns why some failed.

    Raises:
        KeyboardInterrupt: on Ctrl-C, when all processes have left a checkpoint and ended.
    """
    frames = _frames_of(job, models)
    crew = _Crew(job, frames, num_jobs=num_jobs)
    title = f"train {len(models)} models, {num_jobs} at a time"
    with (
        noticed_interrupts() as interrupt,
        job.progress.task(title, total=sum(frames.values()), unit="frames") as task,
    ):
        try:
            while crew.is_busy:
                if interrupt.is_asked:
                    crew.stop()
                crew.listen(task)
        finally:
            crew.kill()  # a second Ctrl-C does not wait
    if interrupt.is_asked:
        raise KeyboardInterrupt
    return crew.failures


class _Worker:
    """One process: what it makes, and how much of that it has read."""

    def __init__(self, process: BaseProcess) -> None:
        self.process = process
        self.is_starting = True
        self.model: Model | None = None
        self.frames = 0.0


class _Crew:
    """The processes that run, what each makes, and the models that wait for one."""

    def __init__(self, job: Job, frames: Mapping[Model, int], *, num_jobs: int) -> None:
        self.failures: dict[Model, str] = {}
        self._job = job
        self._frames = frames
        self._num_jobs = num_jobs
        self._waiting = deque(frames)
        self._running: dict[Connection, _Worker] = {}
        self._is_interrupted = False
        self._num_ended = 0

    @property
    def is_busy(self) -> bool:
        """Are models waiting, or processes running?"""
        return bool(self._waiting or self._running)

    def stop(self) -> None:
        """Interrupt every process, once; one that is still starting is killed."""
        self._waiting.clear()
        for worker in self._running.values():
            if worker.is_starting:
                worker.process.kill()
            elif not self._is_interrupted:
                os.kill(worker.process.pid or 0, signal.SIGINT)
        self._is_interrupted = True

    def kill(self) -> None:
        """Kill the processes that still run."""
        for worker in self._running.values():
            worker.process.kill()
            worker.process.join()

    def listen(self, task: Task) -> None:
        """Start processes while models wait; handle messages for up to LISTEN_SECONDS."""
        num_starting = sum(worker.is_starting for worker in self._running.values())
        unclaimed = len(self._waiting) - num_starting
        for _ in range(min(self._num_jobs - len(self._running), unclaimed)):
            self._start()
        for connection in wait(list(self._running), timeout=LISTEN_SECONDS):
            assert isinstance(connection, Connection)
            try:
                self._handle(connection, connection.recv(), task)
            except (EOFError, ConnectionError):
                self._end(connection)

    def _start(self) -> None:
        here, there = SPAWN.Pipe()
        process = SPAWN.Process(target=make_models, args=(self._job.settings, there))
        resource_tracker.ensure_running()  # otherwise `start` does it, and unblocks interrupts
        with _blocked_interrupts():  # until the process can handle them
            process.start()
        there.close()
        self._running[here] = _Worker(process)

    def _hand(self, connection: Connection) -> None:
        """Send a process the next model, or None, which ends it."""
        worker = self._running[connection]
        worker.model, worker.frames = self._waiting.popleft() if self._waiting else None, 0.0
        with suppress(ConnectionError):  # it has ended: `listen` finds that
            connection.send(worker.model and worker.model.make)

    def _handle(self, connection: Connection, message: Message, task: Task) -> None:
        kind, content = message
        worker = self._running[connection]
        if kind == "frames":
            self._advance(worker, float(content), task)
        elif kind == "note":
            self._job.progress.note(str(content))
        else:
            if worker.model:
                self._num_ended += 1
                # One that stopped early, or went on from a checkpoint, has read fewer.
                self._advance(worker, self._frames[worker.model] - worker.frames, task)
            if content and worker.model:
                self._fail(worker.model, str(content))
            worker.is_starting = False
            self._hand(connection)

    def _advance(self, worker: _Worker, frames: float, task: Task) -> None:
        worker.frames += frames
        task.advance(frames, ended=self._num_ended, running=", ".join(self._shares()))

    def _shares(self) -> Iterator[str]:
        """What runs, and how far it is: `tdnn 45%`."""
        for worker in self._running.values():
            if model := worker.model:
                share = worker.frames / max(1, self._frames[model])
                yield f"{model.recipe.shown_as} {share:.0%}"

    def _end(self, connection: Connection) -> None:
        worker = self._running.pop(connection)
        worker.process.join()
        connection.close()
        if worker.is_starting and self._waiting:
            worker.model = self._waiting.popleft()  # otherwise starting would never end
        if worker.model and not self._is_interrupted:  # code -9: often out of memory
            self._fail(worker.model, f"its process ended with code {worker.process.exitcode}")

    def _fail(self, model: Model, why: str) -> None:
        self.failures[model] = why
        self._job.progress.note(f"{model.name} failed: {why}")


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Inside, SIGINT is blocked; also in a process that is started here, until it unblocks it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
