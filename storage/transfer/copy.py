"""Transfer: copy a store, object by object, each verified before it gets its name.

    survey     find the objects that are there already: they are not moved again
    plan       the objects that are to be moved (plan.py)
    carry out  move them, in several threads; then write manifest, part.json, HEAD

A killed transfer leaves a copy without HEAD, or one whose part.json lists what it holds. The same
transfer goes on there, and repeats at most the objects that were in flight.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Lock, Thread

from storage.errors import StoreCorrupt
from storage.format.partial_copy import PartialCopy
from storage.format.records import ObjectRecord, Records
from storage.transfer.plan import (
    Selection,
    TransferPlan,
    part_afterwards,
    plan_transfer,
    wanted_part,
)
from storage.transfer.source import Source
from storage.transfer.target import Target

NUM_THREADS = 8
END_SECONDS = 2.0  # in which a thread ends that is told to stop


@dataclass(frozen=True, slots=True)
class Moved:
    """`num_bytes` of an object have come; `is_whole` when it is complete and has its name."""

    name: str
    num_bytes: int
    is_whole: bool


def choose(source: Source, target: Target, selection: Selection) -> PartialCopy | None:
    """What the copy is to hold afterwards; None: everything. Nothing is changed.

    Raises:
        StoreMismatch, StoreError: when something else lies there, or the store has no such part.
    """
    contents = source.contents
    target.refuse_others(contents.digest)
    wanted = wanted_part(
        contents.metadata, selection, digest=contents.digest, source=source.place.address
    )
    held, is_sealed = target.part(), target.head() is not None
    return part_afterwards(wanted, is_sealed=is_sealed, held=held)


def survey(
    source: Source,
    target: Target,
    part: PartialCopy | None,
    *,
    careful: bool,
    advance: Callable[[int], None] = lambda _: None,
) -> TransferPlan:
    """What is to be moved. `careful`: objects that are there are read, not only their sizes.

    `advance` gets the bytes of each object that was looked at. Nothing is changed.

    Raises:
        StorePartial: when the source itself lacks something of it.
    """

    def is_there(name: str, record: ObjectRecord) -> bool:
        found = target.holds(name, record, careful=careful)
        advance(record.num_bytes)
        return found

    plan = plan_transfer(source.contents.digest, source.contents.records, part, is_there=is_there)
    source.refuse_left_out(plan.to_move)
    return plan


def carry_out(
    plan: TransferPlan, source: Source, target: Target, *, num_threads: int = NUM_THREADS
) -> Iterator[Moved]:
    """Move the planned objects, and yield what has come. The copy is sealed after the last event.

    Raises:
        StoreCorrupt: when the source has other bytes than its manifest lists.
        StoreUnreachable: when it does not let us read any more.
        StoreError: when there is no room.
    """
    note = plan.part or PartialCopy(
        source=source.place.address,
        digest=plan.digest,
        kept=source.contents.metadata.about.kept,
        arrays={},
    )
    target.begin(note, plan.num_bytes)
    with closing(_move_all(plan.to_move, source, target, num_threads=num_threads)) as moved:
        yield from moved
    target.seal(plan.digest, source.manifest, plan.part)


def _move_all(
    records: Records, source: Source, target: Target, *, num_threads: int
) -> Generator[Moved, None, None]:
    """Threads move one object after the other; the first error stops all of them."""
    names, lock, stop = iter(records), Lock(), Event()
    events: SimpleQueue[Moved | BaseException | None] = SimpleQueue()

    def take() -> str | None:
        with lock:
            return None if stop.is_set() else next(names, None)

    def work() -> None:
        try:
            while (name := take()) is not None:
                _move(name, records[name], source, target, events, stop)
        except BaseException as error:  # noqa: BLE001  the caller raises it
            events.put(error)
        finally:
            events.put(None)

    threads = [Thread(target=work, daemon=True) for _ in range(min(num_threads, len(records)))]
    for thread in threads:
        thread.start()
    try:
        for _ in threads:
            while (event := events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
    finally:
        stop.set()
        for thread in threads:  # one that waits for its server writes nothing any more
            thread.join(END_SECONDS)


class _Stopped(BaseException):
    """Another thread failed, or the caller stopped."""


def _move(
    name: str,
    record: ObjectRecord,
    source: Source,
    target: Target,
    events: "SimpleQueue[Moved | BaseException | None]",
    stop: Event,
) -> None:
    def pieces() -> Iterator[bytes]:
        for piece in source.pieces(name, record):
            if stop.is_set():
                raise _Stopped
            events.put(Moved(name, len(piece), is_whole=False))
            yield piece

    try:
        target.write(name, record, pieces())
    except StoreCorrupt as error:
        raise StoreCorrupt(f"{source.place}: {error}: it was not copied") from error
    events.put(Moved(name, 0, is_whole=True))
