"""fixed_threads: set the number of torch's threads for a while, then restore it.

Another number splits matrix products in another way, which moves the last bits of their results.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fixed_threads(number: int) -> Iterator[None]:
    """Within the context, torch uses `number` threads of this process for one operation."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
