"""Progress: how a stage tells what it is doing, without knowing of terminals."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Task(Protocol):
    """One piece of long work."""

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        """`amount` more is done; `facts` (loss=0.4, ...) stand beside the bar."""


class Progress(Protocol):
    """Where tasks and notes are shown."""

    def task(self, title: str, *, total: float, unit: str) -> AbstractContextManager[Task]:
        """Begin a task of `total` `unit`s ("frames", "utterances")."""

    def note(self, text: str) -> None:
        """One line for the person who waits."""


def facts_in_words(facts: Mapping[str, object]) -> str:
    """Facts of a task on one line: `epoch 3  dev error 0.41`."""
    return "  ".join(
        f"{name.replace('_', ' ')} {f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in facts.items()
    )


class _SilentTask:
    def advance(self, amount: float = 1.0, **facts: object) -> None:
        pass


class SilentProgress:
    """Shows nothing: for libraries and tests."""

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[Task]:
        """Begin a task that nobody sees."""
        yield _SilentTask()

    def note(self, text: str) -> None:
        """Say nothing."""
