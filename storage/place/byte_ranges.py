"""Byte ranges: what is requested from a server, and how requests are grouped."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

PIECE_BYTES = 1 << 21  # of a large object at a time: progress moves, and a stop takes effect soon
REQUEST_BYTES = 1 << 23  # of one request, and of small objects that are requested together


class ByteRange(NamedTuple):
    """Bytes [start, stop) of an object."""

    name: str
    start: int
    stop: int


def join_neighbours(wanted: Iterable[ByteRange]) -> Iterator[list[ByteRange]]:
    """Runs of ranges that follow each other in an object, of `REQUEST_BYTES` or a single one."""
    run: list[ByteRange] = []
    for place in sorted(set(wanted)):
        follows = run and (place.name, place.start) == (run[-1].name, run[-1].stop)
        if follows and place.stop - run[0].start <= REQUEST_BYTES:
            run.append(place)
            continue
        if run:
            yield run
        run = [place]
    if run:
        yield run


def hull(run: list[ByteRange]) -> ByteRange:
    """The smallest range that covers a run."""
    return ByteRange(run[0].name, run[0].start, run[-1].stop)


def group_by_size(sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """All names, as many together as make `REQUEST_BYTES`; a larger object alone."""
    group: list[str] = []
    num_bytes = 0
    for name, size in sizes.items():
        if group and num_bytes + size > REQUEST_BYTES:
            yield group
            group, num_bytes = [], 0
        group.append(name)
        num_bytes += size
    if group:
        yield group
