"""fixed_threads: torch works with so many threads, then with as many as before.

Another number splits a matrix product otherwise, and moves the last bits of its result.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fixed_threads(number: int) -> Iterator[None]:
    """Inside, torch uses `number` threads of this process for one operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
