"""Launched: what torchrun has told this process, by its environment. Does not load torch."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from stages.training.ranks import ALONE, Ranks

SET_BY_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


def is_one_of_many() -> bool:
    """Has torchrun started this process, and others with it?"""
    return all(name in os.environ for name in SET_BY_TORCHRUN) and _number("WORLD_SIZE") > 1


def own_number() -> int:
    """The rank of this process; 0 where it is alone."""
    return _number("RANK") if is_one_of_many() else 0


def own_device(device: str) -> str:
    """Among several, `cuda` is the GPU of this process's number on its machine."""
    return f"cuda:{_number('LOCAL_RANK')}" if device == "cuda" and is_one_of_many() else device


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """This process alone, or among the others; an error inside is then told to all of them."""
    if not is_one_of_many():
        yield ALONE
        return
    # Here, not at the top: a process alone joins none, and its command may need no torch.
    from stages.training.many_ranks import among_ranks

    with among_ranks() as ranks:
        yield ranks


def leave(code: int) -> NoReturn:
    """End this process. Among several, at once: gloo's threads now and then abort a slow end."""
    if is_one_of_many():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _number(name: str) -> int:
    return int(os.environ.get(name, "0"))
