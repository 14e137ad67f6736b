"""Interrupts: Ctrl-C is noticed between two training steps, never in the middle of one.

An exception inside the optimiser's update would leave half of the weights new and half old: no
checkpoint could be written of that. A second Ctrl-C does not wait.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(slots=True)
class Interrupt:
    """Whether somebody has asked to stop."""

    is_asked: bool = False


@contextmanager
def noticed_interrupts() -> Iterator[Interrupt]:
    """Inside, the first SIGINT sets `is_asked`; the second raises KeyboardInterrupt.

    Signals reach the main thread only; in any other there is nothing to do.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def notice(_number: int, _frame: FrameType | None) -> None:
        if interrupt.is_asked:
            raise KeyboardInterrupt
        interrupt.is_asked = True

    before = signal.signal(signal.SIGINT, notice)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
