"""TerminalProgress: a bar with rate and time left on a terminal, a line now and then in a log.

A bar disappears when its task is done; a task of some seconds leaves a line with its last figures.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from pipeline.terminal.plain_text import plain_text
from stages.contract.progress import facts_in_words
from storage.place.address import without_secrets

LOG_SECONDS = 30.0  # a log gets a line this often
WORTH_A_LINE_SECONDS = 3.0


class _Work:
    """One task: amount done, rate, and the last facts."""

    def __init__(self, title: str, total: float, unit: str) -> None:
        self._title, self._total, self._unit = plain_text(title), total, unit
        self._done = self._shown_done = 0.0
        self._facts = ""
        self._begin = self._shown = time.monotonic()

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        """`amount` more is done."""
        self._done += amount
        self._facts = plain_text(facts_in_words(facts)) or self._facts

    @property
    def rate(self) -> str:
        """Units a second, since the task began."""
        seconds = max(time.monotonic() - self._begin, 1e-9)
        return f"{self._done / seconds:,.0f} {self._unit}/s"

    def show(self) -> None:
        """One line on stderr."""
        self._shown, self._shown_done = time.monotonic(), self._done
        share = self._done / self._total if self._total else 1.0
        left = self._time_left()
        line = f"{self._title}: {share:4.0%}  {self.rate}  {left}{self._facts}"
        print(line.rstrip(), file=sys.stderr, flush=True)

    def _time_left(self) -> str:
        """At the rate so far; empty before the first frame and after the last."""
        if not 0 < self._done < self._total:
            return ""
        seconds = (time.monotonic() - self._begin) * (self._total - self._done) / self._done
        return f"{seconds / 60:.0f} min left  " if seconds >= 60 else f"{seconds:.0f} s left  "

    def end(self) -> None:
        """The last line of a task that took WORTH_A_LINE_SECONDS."""
        is_shown = self._done > 0 and self._shown_done == self._done
        if time.monotonic() - self._begin >= WORTH_A_LINE_SECONDS and not is_shown:
            self.show()


class _LoggedWork(_Work):
    """A task in a log: a line every LOG_SECONDS."""

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        super().advance(amount, **facts)
        if time.monotonic() - self._shown >= LOG_SECONDS:
            self.show()


class _DrawnWork(_Work):
    """A task on a terminal: a bar."""

    def __init__(self, bars: Progress, title: str, total: float, unit: str) -> None:
        super().__init__(title, total, unit)
        self._bars = bars
        self._bar: TaskID = bars.add_task(self._title, total=max(total, 1e-9), facts="", rate="")

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        super().advance(amount, **facts)
        self._bars.update(self._bar, advance=amount, facts=self._facts, rate=self.rate)


class TerminalProgress:
    """Shows tasks and notes on stderr."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[_Work]:
        """Begin a task of `total` `unit`s."""
        if not self._console.is_terminal:
            work: _Work = _LoggedWork(title, total, unit)
            yield work
        else:
            with _Bars(*_columns(), console=self._console, transient=True) as bars:
                work = _DrawnWork(bars, title, total, unit)
                yield work
        work.end()

    def note(self, text: str) -> None:
        """One line on stderr."""
        print(plain_text(without_secrets(text)), file=sys.stderr, flush=True)


def _columns() -> tuple[BarColumn | TextColumn | TimeRemainingColumn, ...]:
    return (
        TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold")),
        BarColumn(bar_width=24, table_column=Column(min_width=4, no_wrap=True)),
        TextColumn("{task.percentage:3.0f}%", table_column=Column(min_width=4, no_wrap=True)),
        TimeRemainingColumn(compact=True, table_column=Column(min_width=5, no_wrap=True)),
        TextColumn(
            "{task.fields[rate]}", markup=False, table_column=Column(min_width=14, no_wrap=True)
        ),
    )


class _Bars(Progress):
    """Bars with their facts on a line below: next to a bar, 80 columns cut their names off."""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        for task in self.tasks:
            if facts := task.fields["facts"]:
                yield Text(f"  {facts}")
