"""ManyRanks: this process among those that torchrun has started.

Whatever ranks do together begins with an exchange: one vector of fixed size, summed over all of
them. Its head states whether a rank has failed and whether one was asked to stop. So a rank that
fails anywhere reports it in the very exchange that the others wait in; they end with its message,
and none hangs. A rank that is killed breaks the connection: that is an error too.

Numbers and bytes travel between processors (gloo), gradients between GPUs (nccl) where these
train. Nothing is pickled.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as group
from torch import Tensor

from stages.contract.errors import StageError
from stages.training.ranks import Ranks

MOST_NUMBERS = 14  # of one exchange, beside the two of its head
WAIT = timedelta(hours=24)  # while the first rank works alone; torchrun ends who waits for the dead


class RankFailed(StageError):
    """Another rank has failed; its message is ours."""


class RankLost(StageError):
    """The connection to another rank is gone: it was killed, or its machine was."""


class ManyRanks(Ranks):
    """This process among those that torchrun has started."""

    def __init__(self) -> None:
        super().__init__(group.get_rank(), group.get_world_size())
        self._stops = False

    def must_stop(self, *, is_asked: bool) -> bool:
        """Whether any was asked to stop, as of the last exchange: all know the same."""
        return self._stops

    def exchange(self, numbers: Sequence[float] = (), *, is_asked: bool = False) -> list[float]:
        """Every rank's numbers, summed in float64; fewer than another rank's count as zeros.

        Raises:
            RankFailed: when another rank has failed, with its message.
            RankLost: when one is gone.
        """
        failed, asked, *sums = self._sum((0.0, float(is_asked), *numbers))
        if failed:
            raise RankFailed(self._hear(b""))
        self._stops = asked > 0
        return sums[: len(numbers)]

    def sum_in_place(self, values: Tensor) -> None:
        """Sum over ranks. Comes right behind an exchange: nothing may fail between."""
        with _connected():
            group.all_reduce(values)

    def from_first(self, content: bytes) -> bytes:
        """The bytes that the first rank has; what the others give is passed over."""
        (size,) = self.exchange([float(len(content)) if self.is_first else 0.0])
        return self._broadcast(content, size=int(size), source=0)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Inside, an error of one rank is told to all: they raise RankFailed, it raises its own."""
        try:
            yield
        except (RankFailed, RankLost):
            raise
        except Exception as cause:
            self._sum((1.0, 0.0))
            self._hear((str(cause) or type(cause).__name__).encode())
            raise

    def _sum(self, numbers: Sequence[float]) -> list[float]:
        assert len(numbers) <= MOST_NUMBERS + 2
        vector = torch.zeros(MOST_NUMBERS + 2, dtype=torch.float64)
        vector[: len(numbers)] = torch.tensor(numbers, dtype=torch.float64)
        self.sum_in_place(vector)
        return [float(value) for value in vector]

    def _hear(self, message: bytes) -> str:
        """What the lowest of the failed ranks says."""
        sizes = torch.zeros(self.size, dtype=torch.int64)
        sizes[self.rank] = len(message)
        self.sum_in_place(sizes)
        source = next(rank for rank, size in enumerate(sizes.tolist()) if size)
        text = self._broadcast(message, size=int(sizes[source]), source=source).decode()
        return f"rank {source} of {self.size} says: {text}"

    def _broadcast(self, content: bytes, *, size: int, source: int) -> bytes:
        if size == 0:
            return b""
        whole = torch.empty(size, dtype=torch.uint8)
        if self.rank == source:
            whole.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
        with _connected():
            group.broadcast(whole, source)
        return whole.numpy().tobytes()


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as cause:  # what gloo and nccl raise when a peer is gone
        raise RankLost(
            "another rank is gone, look for its message; the same command goes on from the last "
            f"checkpoint ({str(cause).splitlines()[0]})"
        ) from cause


@contextmanager
def among_ranks() -> Iterator[ManyRanks]:
    """This process among the others; an error inside is told to all of them."""
    with _connected():
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        group.init_process_group(backend, timeout=WAIT)
    ranks = ManyRanks()
    with ranks.guarded():
        yield ranks
    group.destroy_process_group()
