"""Ranks: the processes that train one model together. Does not load torch.

many_ranks.py has those that torchrun has started; launched.py finds out which this process is.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


class Ranks:
    """One process alone: what ranks do together is what it does itself."""

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank = rank
        self.size = size

    @property
    def is_first(self) -> bool:
        """The first rank writes files and shows progress."""
        return self.rank == 0

    def must_stop(self, *, is_asked: bool) -> bool:
        """Whether all stop here; `is_asked`: whether this process was asked to."""
        return is_asked

    def exchange(self, numbers: Sequence[float] = (), *, is_asked: bool = False) -> list[float]:
        """Every rank's numbers, summed in float64."""
        return list(numbers)

    def sum_in_place(self, values: "Tensor") -> None:
        """Sum over ranks. Comes right behind an exchange: nothing may fail between."""

    def from_first(self, content: bytes) -> bytes:
        """The bytes that the first rank has; what the others give is passed over."""
        return content

    def first(self, do: Callable[[], bytes]) -> bytes:
        """What `do` gives on the first rank; the others wait for it."""
        return self.from_first(do() if self.is_first else b"")

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Inside, an error of one rank is told to all."""
        yield


ALONE = Ranks()
