"""TerminalProgress: bars with rate and time left on a terminal, plain lines in a log."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LINE_SECONDS = 30.0  # a log gets a line this often


def _in_words(facts: dict[str, object]) -> str:
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in facts.items()
    )


class _Bar:
    def __init__(self, bars: Progress, id: TaskID, unit: str) -> None:
        self._bars, self._id, self._unit = bars, id, unit

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        self._bars.advance(self._id, amount)
        speed = self._bars.tasks[self._bars.task_ids.index(self._id)].speed
        rate = f"{speed:,.0f} {self._unit}/s" if speed else ""
        self._bars.update(self._id, facts=_in_words(facts), rate=rate)


class _Lines:
    def __init__(self, title: str, total: float, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done, self._begin = 0.0, time.monotonic()
        self._last = self._begin
        self._facts = ""

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        self._done += amount
        self._facts = _in_words(facts) or self._facts
        if time.monotonic() - self._last >= LINE_SECONDS:
            self.say()

    def say(self) -> None:
        self._last = time.monotonic()
        seconds = max(self._last - self._begin, 1e-9)
        share = self._done / self._total if self._total else 1.0
        rate = self._done / seconds
        print(
            f"{self._title}: {share:4.0%}  {rate:,.0f} {self._unit}/s  {self._facts}".rstrip(),
            file=sys.stderr,
            flush=True,
        )


class TerminalProgress:
    """Shows tasks on stderr: bars where it is a terminal, a line every half minute where not."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[_Bar | _Lines]:
        """Begin a task of `total` `unit`s."""
        if not self._console.is_terminal:
            lines = _Lines(title, total, unit)
            yield lines
            lines.say()
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[facts]}"),
        )
        with Progress(*columns, console=self._console) as bars:
            id = bars.add_task(title, total=max(total, 1e-9), facts="", rate="")
            yield _Bar(bars, id, unit)

    def note(self, text: str) -> None:
        """One line for the person who waits."""
        print(text, file=sys.stderr, flush=True)
