"""Students side by side: several processes of one thread, each training one student at a time.

A process does what `essence student` does and sends its progress to the parent. The parent alone
receives Ctrl-C; it interrupts every child once, and each writes a checkpoint. A child ends with the
parent.
"""

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import torch

from pipeline import flow
from pipeline.errors import in_words
from pipeline.job import Job
from pipeline.settings.tree import PipelineSettings
from pipeline.shelf.contents import read_json
from stages.contract.child_process import end_with_parent
from stages.contract.progress import Task
from stages.contract.results import CorpusSummary, SplitSummary
from stages.student.settings import StudentSettings
from stages.training.interrupts import noticed_interrupts

LISTEN_SECONDS = 0.2  # longest time until Ctrl-C is noticed
SEND_SECONDS = 0.5  # between two messages about progress
SPAWN = multiprocessing.get_context("spawn")  # a fork would share torch's threads

# frames: number of frames done since the last one; note: a line; ready: for a student;
# ended: why the student failed, or an empty text
Message = tuple[str, str | float]


def train_side_by_side(
    job: Job, students: Sequence[StudentSettings], *, num_jobs: int
) -> dict[StudentSettings, str]:
    """Train those that are not fresh. Returns why students failed.

    Raises:
        KeyboardInterrupt: on Ctrl-C, when all processes have left a checkpoint and ended.
    """
    waiting = [student for student in students if not job.is_fresh(job.recipes.student(student))]
    crew = _Crew(job, waiting, num_jobs=num_jobs)
    train = _train_summary(job)
    frames = sum(_epoch_frames(train, each) * each.training.epochs for each in waiting)
    title = f"sweep: {len(waiting)} students, {num_jobs} at a time"
    with (
        noticed_interrupts() as interrupt,
        job.progress.task(title, total=frames, unit="frames") as task,
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


def _train_summary(job: Job) -> SplitSummary:
    return read_json(CorpusSummary, job.shelf.place(job.recipes.corpus) / "summary.json").train


def _epoch_frames(train: SplitSummary, student: StudentSettings) -> int:
    """Frames that are read in an epoch; on hard labels alone untranscribed speech is not.

    An epoch of a student with equal steps counts as one over all speech.
    Utterances that the ensemble could not align or decode are counted here: they are few.
    """
    reads_all = student.hard_weight < 1 or student.labels.untranscribed == "decoded"
    reads_all = reads_all or student.training.equal_steps
    if train.labelled is not None and not reads_all:
        return train.labelled.num_frames
    return train.num_frames


class _Crew:
    """The processes that run, what each trains, and the students that wait for one."""

    def __init__(self, job: Job, students: Sequence[StudentSettings], *, num_jobs: int) -> None:
        self.failures: dict[StudentSettings, str] = {}
        self._job = job
        self._num_jobs = num_jobs
        self._waiting = deque(students)
        self._running: dict[Connection, tuple[BaseProcess, StudentSettings | None]] = {}
        self._starting: set[Connection] = set()
        self._is_interrupted = False
        self._num_ended = 0

    @property
    def is_busy(self) -> bool:
        """Are students waiting, or processes running?"""
        return bool(self._waiting or self._running)

    def stop(self) -> None:
        """Interrupt every process, once; one that is still starting is killed."""
        self._waiting.clear()
        for connection, (process, _) in self._running.items():
            if connection in self._starting:
                process.kill()
            elif not self._is_interrupted:
                os.kill(process.pid or 0, signal.SIGINT)
        self._is_interrupted = True

    def kill(self) -> None:
        """Kill the processes that still run."""
        for process, _ in self._running.values():
            process.kill()
            process.join()

    def listen(self, task: Task) -> None:
        """Start processes while students wait; handle messages for up to LISTEN_SECONDS."""
        unclaimed = len(self._waiting) - len(self._starting)
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
        process = SPAWN.Process(target=_train, args=(self._job.settings, there))
        resource_tracker.ensure_running()  # otherwise `start` does it, and unblocks interrupts
        with _blocked_interrupts():  # until the process can handle them
            process.start()
        there.close()
        self._running[here] = (process, None)
        self._starting.add(here)

    def _hand(self, connection: Connection, process: BaseProcess) -> None:
        """Send a process the next student, or None, which ends it."""
        student = self._waiting.popleft() if self._waiting else None
        self._running[connection] = (process, student)
        with suppress(ConnectionError):  # it has ended: `listen` finds that
            connection.send(student)

    def _handle(self, connection: Connection, message: Message, task: Task) -> None:
        kind, content = message
        process, student = self._running[connection]
        if kind == "frames":
            task.advance(float(content), ended=self._num_ended)
        elif kind == "note":
            self._job.progress.note(str(content))
        else:
            if content and student:
                self._fail(student, str(content))
            self._num_ended += student is not None
            self._starting.discard(connection)
            self._hand(connection, process)

    def _end(self, connection: Connection) -> None:
        process, student = self._running.pop(connection)
        process.join()
        connection.close()
        if connection in self._starting and self._waiting:
            student = self._waiting.popleft()  # it fails: otherwise starting would never end
        self._starting.discard(connection)
        if student and not self._is_interrupted:  # code -9: often out of memory
            self._fail(student, f"its process ended with code {process.exitcode}")

    def _fail(self, student: StudentSettings, why: str) -> None:
        self.failures[student] = why
        self._job.progress.note(f"student {student.name} failed: {why}")


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Inside, SIGINT is blocked; also in a process that is started here, until it unblocks it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _train(settings: PipelineSettings, parent: Connection) -> None:
    """Main function of a process: train the students that the parent sends, one after another."""
    end_with_parent()
    os.setpgid(0, 0)  # the terminal's Ctrl-C reaches the parent alone
    torch.set_num_threads(1)
    job = Job(settings, _SentProgress(parent))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        parent.send(("ready", ""))
        while student := parent.recv():
            parent.send(("ended", _failure(job, student)))
    except (KeyboardInterrupt, EOFError, ConnectionError):  # interrupted, or the parent has ended
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _failure(job: Job, student: StudentSettings) -> str:
    try:
        flow.student(job, student)
    except ConnectionError:
        raise
    except Exception as cause:  # noqa: BLE001  the others are trained
        return in_words(cause)
    return ""


class _SentTask:
    """A task that the parent shows."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent
        self._unsent, self._sent = 0.0, time.monotonic()

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        self._unsent += amount
        if time.monotonic() - self._sent >= SEND_SECONDS:
            self.send()

    def send(self) -> None:
        self._parent.send(("frames", self._unsent))
        self._unsent, self._sent = 0.0, time.monotonic()


class _SentProgress:
    """Sends tasks and notes to the parent."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[_SentTask]:
        task = _SentTask(self._parent)
        yield task
        task.send()

    def note(self, text: str) -> None:
        self._parent.send(("note", text))
