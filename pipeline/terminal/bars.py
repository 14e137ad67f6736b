"""Bars: a task of TerminalProgress, drawn on a terminal by rich."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from pipeline.terminal.work import Work


def terminal() -> Console:
    """What stderr is connected to: a terminal, or not."""
    return Console(stderr=True)


@contextmanager
def drawn(title: str, total: float, unit: str, *, console: Console) -> Iterator[Work]:
    """A task as a bar, which disappears at its end."""
    with _Bars(*_columns(), console=console, transient=True) as bars:
        yield _DrawnWork(bars, title, total, unit)


class _DrawnWork(Work):
    """A task on a terminal: a bar."""

    def __init__(self, bars: Progress, title: str, total: float, unit: str) -> None:
        super().__init__(title, total, unit)
        self._bars = bars
        self._bar: TaskID = bars.add_task(self._title, total=max(total, 1e-9), facts="", rate="")

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        super().advance(amount, **facts)
        self._bars.update(self._bar, advance=amount, facts=self._facts, rate=self.rate)


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
