"""Work: one task of TerminalProgress, as lines: amount done, rate, time left, last figures."""

import sys
import time

from pipeline.terminal.plain_text import plain_text
from stages.contract.progress import facts_in_words

LOG_SECONDS = 30.0  # a log gets a line this often
WORTH_A_LINE_SECONDS = 3.0


class Work:
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


class LoggedWork(Work):
    """A task in a log: a line every LOG_SECONDS."""

    def advance(self, amount: float = 1.0, **facts: object) -> None:
        """`amount` more is done; a line if the last one is LOG_SECONDS old."""
        super().advance(amount, **facts)
        if time.monotonic() - self._shown >= LOG_SECONDS:
            self.show()
