"""Byte ranges: what is requested from a server, and how requests are grouped."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from storage.format.records import Records

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


def group_by_size(records: Records) -> Iterator[Records]:
    """All of them, as many together as make `REQUEST_BYTES`; a larger one alone."""
    group: Records = {}
    num_bytes = 0
    for name, record in records.items():
        if group and num_bytes + record.num_bytes > REQUEST_BYTES:
            yield group
            group, num_bytes = {}, 0
        group[name] = record
        num_bytes += record.num_bytes
    if group:
        yield group
