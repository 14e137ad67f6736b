"""Interrupts: Ctrl-C and SIGTERM are noticed between training steps, never in the middle of one.

An exception inside the optimiser's update would leave half of the weights new and half old: no
checkpoint could be written of that. A second one does not wait; but among several ranks it does:
torchrun passes on what the terminal has sent already, and all ranks must stop at the same step.
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
def noticed_interrupts(*, is_alone: bool = True) -> Iterator[Interrupt]:
    """Inside, SIGINT or SIGTERM sets `is_asked`; the next raises KeyboardInterrupt, if alone.

    Signals reach the main thread only; in any other there is nothing to do.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return

    def notice(_number: int, _frame: FrameType | None) -> None:
        if interrupt.is_asked and is_alone:
            raise KeyboardInterrupt
        interrupt.is_asked = True

    before = {number: signal.signal(number, notice) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
