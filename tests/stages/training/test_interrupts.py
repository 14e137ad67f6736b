"""Interrupts: one that Python drops comes again."""

import os
import signal
import sys
import time
import weakref
from collections.abc import Callable

import pytest

from stages.training.interrupts import ending_signals


class Thing:
    """Something that can be referred to weakly."""


def _in_weak_callback() -> None:
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing
    assert reference() is None


class Ended:
    """Asks the process to stop while it is taken apart."""

    def __del__(self) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def _in_finaliser() -> None:
    ended = Ended()
    del ended


def _and_wait(place: Callable[[], None]) -> None:
    place()
    time.sleep(5)


@pytest.mark.parametrize("place", [_in_weak_callback, _in_finaliser])
def test_interrupt_that_python_drops_comes_again(
    place: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(KeyboardInterrupt), ending_signals() as ending:
            _and_wait(place)
        assert ending.has_begun
        assert "Exception ignored" not in capsys.readouterr().err
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_other_dropped_exceptions_are_shown_as_before() -> None:
    seen: list[object] = []
    before = sys.unraisablehook
    sys.unraisablehook = lambda unraisable: seen.append(unraisable.exc_type)
    try:
        with ending_signals():

            class Broken:
                def __del__(self) -> None:
                    raise ValueError("dropped")

            Broken()
    finally:
        sys.unraisablehook = before
    assert seen == [ValueError]
