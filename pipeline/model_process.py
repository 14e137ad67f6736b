"""The process that makes models for side_by_side.py, one after another, and sends its progress."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Protocol

from pipeline.errors import in_words
from pipeline.job import Job
from pipeline.settings.tree import PipelineSettings
from stages.contract.child_process import end_with_parent
from stages.contract.progress import facts_in_words

SEND_SECONDS = 0.5  # between two messages about progress

# frames: number of frames done since the last one; note: a line; ready: for a model;
# ended: why the model failed, or an empty text
Message = tuple[str, str | float]


class Make(Protocol):
    """Makes one model, or continues it; can be sent to another process."""

    def __call__(self, job: Job) -> object:
        """Raises as the function of flow.py that it stands for."""


def make_models(settings: PipelineSettings, parent: Connection) -> None:
    """Main function of a process: make the models that the parent sends, one after another."""
    end_with_parent()
    os.setpgid(0, 0)  # the terminal's Ctrl-C reaches the parent alone
    job = Job(settings, _SentProgress(parent))
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        parent.send(("ready", ""))
        while make := parent.recv():
            parent.send(("ended", _failure(job, make)))
    except (KeyboardInterrupt, EOFError, ConnectionError):  # interrupted, or the parent has ended
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _failure(job: Job, make: Make) -> str:
    try:
        make(job)
    except ConnectionError:
        raise
    except Exception as cause:  # noqa: BLE001  the others are made
        return in_words(cause)
    return ""


class _SentTask:
    """A task that the parent shows."""

    def __init__(self, parent: Connection) -> None:
        self.facts: dict[str, object] = {}
        self._parent = parent
        self._unsent, self._sent = 0.0, time.monotonic()

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        self.facts = facts or self.facts
        self._unsent += amount
        if time.monotonic() - self._sent >= SEND_SECONDS:
            self.send()

    def send(self) -> None:
        self._parent.send(("frames", self._unsent))
        self._unsent, self._sent = 0.0, time.monotonic()


class _SentProgress:
    """Sends tasks and notes to the parent; the last facts of a task as a note."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[_SentTask]:
        task, began = _SentTask(self._parent), time.monotonic()
        yield task
        task.send()
        took = f"{time.monotonic() - began:.0f} s"
        self.note(f"{title}: {took}  {facts_in_words(task.facts)}".rstrip())

    def note(self, text: str) -> None:
        self._parent.send(("note", text))
