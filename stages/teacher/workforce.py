"""Workforce: what labels the shards: this process, or those of a cluster."""

from collections.abc import Generator, Sequence
from typing import Protocol

from stages.contract.progress import Task
from stages.teacher.shard_work import Labeller, ShardDone, ShardWork


class Workforce(Protocol):
    """Labels shards in any order. Closing the generator stops the work."""

    def do(self, works: Sequence[ShardWork], *, task: Task) -> Generator[ShardDone]:
        """Do each work once; `task` advances by its frames, once for each member."""


class ThisProcess:
    """One shard after the other, in this process."""

    def do(self, works: Sequence[ShardWork], *, task: Task) -> Generator[ShardDone]:
        """Do each work once, in order."""
        labeller = Labeller()
        try:
            for work in works:
                yield labeller.do(work, task=task)
        finally:
            labeller.close()
