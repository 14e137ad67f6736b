"""Workforce: what labels the shards: this process, or those of a cluster."""

from collections.abc import Generator, Sequence
from typing import Protocol

from stages.contract.progress import Task
from stages.teacher.shard_work import Labeller, ShardDone, ShardWork


class Workforce(Protocol):
    """Does shards in any order. Whoever stops asking stops the work."""

    def do(self, works: Sequence[ShardWork], *, task: Task) -> Generator[ShardDone]:
        """Each work once; `task` advances by the frames, once for each member."""


class ThisProcess:
    """One shard after the other, here."""

    def do(self, works: Sequence[ShardWork], *, task: Task) -> Generator[ShardDone]:
        """Each work once, in order."""
        labeller = Labeller()
        try:
            for work in works:
                yield labeller.do(work, task=task)
        finally:
            labeller.close()
