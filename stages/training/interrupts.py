"""Interrupts: Ctrl-C, SIGTERM and SIGHUP end a command in steps, the same for all three.

                      in training                               elsewhere
    the first         noticed between two steps                 raises KeyboardInterrupt
    the second        raises KeyboardInterrupt                  ends the process at once
    the third         ends the process at once

An exception inside the optimiser's update would leave half of the weights new and half old: no
checkpoint could be written of that. Among several ranks no signal after the first one raises:
torchrun passes on what the terminal has sent already, and all ranks must stop at the same step.
What a process leaves that ends at once is what a kill leaves: the next run continues from it.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from stages.training.launched import own_number

STDOUT, STDERR = 1, 2
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN_SECONDS = 0.01
ENDED_BY_SIGNAL = 128  # plus the signal's number: the shells' convention


@dataclass(slots=True)
class Interrupt:
    """Whether this process was asked to stop."""

    is_asked: bool = False


@dataclass(slots=True)
class Ending:
    """How signals end a command. `number` is the first one that came."""

    number: int = signal.SIGINT
    has_begun: bool = False
    is_raised: bool = False

    @property
    def code(self) -> int:
        """The exit code of a command that was stopped: 130, 143 or 129."""
        return ENDED_BY_SIGNAL + self.number

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        """Raise KeyboardInterrupt; if that was done already, end the process."""
        if self.is_raised:
            os._exit(ENDED_BY_SIGNAL + number)
        self.begin(number)
        self.is_raised = True
        raise KeyboardInterrupt

    def begin(self, number: int) -> None:
        """The first signal has come."""
        self.number, self.has_begun = number, True
        if number == signal.SIGHUP and os.isatty(STDERR):
            nowhere = os.open(os.devnull, os.O_RDWR)  # the terminal is gone: writing to it fails
            os.dup2(nowhere, STDOUT)
            os.dup2(nowhere, STDERR)


@contextmanager
def ending_signals() -> Iterator[Ending]:
    """Inside, the first of STOPPING raises KeyboardInterrupt, the next ends the process.

    Once one has come, the next also ends a process that is past the end of this context.
    """
    ending = Ending()
    try:
        with _handled_by(ending), _raised_again(ending):
            yield ending
    finally:
        if ending.has_begun:
            for number in STOPPING:
                signal.signal(number, signal.SIG_DFL)  # Python's own handler prints a traceback


@contextmanager
def _raised_again(ending: Ending) -> Iterator[None]:
    """Inside, an interrupt that Python drops comes again a moment later.

    Python calls a signal's handler between any two instructions, also within the callback of a
    weak reference or a `__del__`, from which no exception gets out: the command would run on.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if ending.is_raised and issubclass(unraisable.exc_type, KeyboardInterrupt):
            ending.is_raised = False
            # From a thread, and later: sent here, the signal would be raised in this hook.
            again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), ending.number))
            again.daemon = True
            again.start()
        else:
            before(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def noticed_interrupts(*, is_alone: bool = True) -> Iterator[Interrupt]:
    """Inside, the first of STOPPING sets `is_asked`; the next raises KeyboardInterrupt, if alone.

    Signals reach the main thread only; in any other there is nothing to do.
    """
    interrupt = Interrupt()
    outer = signal.getsignal(signal.SIGINT)

    def notice(number: int, frame: FrameType | None) -> None:
        if not interrupt.is_asked:
            interrupt.is_asked = True
            if isinstance(outer, Ending):
                outer.begin(number)
            _announce()
        elif is_alone and isinstance(outer, Ending):
            outer(number, frame)
        elif is_alone:
            raise KeyboardInterrupt

    with _handled_by(notice):
        yield interrupt


def _announce() -> None:
    """Print at once that the process will stop: a step may take minutes.

    A child process leaves that to its parent. `print` could be what the signal interrupted.
    """
    if multiprocessing.parent_process() is None and own_number() == 0:
        os.write(STDERR, b"\nstopping after this step\n")


@contextmanager
def _handled_by(handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # nohup ignores SIGHUP, for the command to outlive its terminal.
    taken = [n for n in STOPPING if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in taken}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
