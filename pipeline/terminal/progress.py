"""TerminalProgress: a bar with rate and time left on a terminal, a line now and then in a log.

A bar disappears when its task is done; a task of some seconds leaves a line with its last figures.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.terminal.plain_text import plain_text
from pipeline.terminal.work import LoggedWork, Work
from storage.place.address import without_secrets


class TerminalProgress:
    """Shows tasks and notes on stderr."""

    @contextmanager
    def task(self, title: str, *, total: float, unit: str) -> Iterator[Work]:
        """Begin a task of `total` `unit`s."""
        # Here, not at the top: rich takes a while to load, and most commands show no task.
        from pipeline.terminal.bars import drawn, terminal

        console = terminal()
        if not console.is_terminal:
            work: Work = LoggedWork(title, total, unit)
            yield work
        else:
            with drawn(title, total, unit, console=console) as work:
                yield work
        work.end()

    def note(self, text: str) -> None:
        """One line on stderr."""
        print(plain_text(without_secrets(text)), file=sys.stderr, flush=True)
