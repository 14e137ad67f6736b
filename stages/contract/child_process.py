"""Child process: ends with its parent, however that ends.

A process that was killed cannot end its children. So a child waits, in a thread, for the pipe that
multiprocessing keeps between the two: the system closes the parent's end with the parent.
"""

import multiprocessing
import os
from multiprocessing.connection import wait
from threading import Thread

ORPHANED = 1  # exit code


def end_with_parent() -> None:
    """From now on, this process ends as soon as its parent has. To be called by the child first.

    It ends wherever it is, as by a kill.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "this process was not started by multiprocessing"
    Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(ORPHANED)
