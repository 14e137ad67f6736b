"""take_in: a source -> a sealed store, compared with the source after it was written.

    survey     reads the source: nothing is made where it is not sound
    write      reads it again, shard by shard; committed shards are not written again
    compare    reads the store: what it returns is the source's, within the value code's bound
    seal

A process that is killed at any instruction leaves a store under construction; the same call goes
on from there, to the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.errors import StoreCorrupt, StoreError
from storage.exchange.compare import labels_digest, labels_to_read, largest_error
from storage.exchange.frames import Advance, Source, SourceUtterance
from storage.exchange.keep import keep_frames
from storage.exchange.plan import Import
from storage.format.layout import StoreUtterance
from storage.read.reader import open_store
from storage.write.path_check import refuse_other_place
from storage.write.top_k import KeptBlock
from storage.write.writer import StoreWriter


@dataclass(slots=True, kw_only=True)
class TakenIn:
    """What was done; the sums are over frames."""

    digest: str = ""
    largest_error: float = 0.0  # nats
    dropped_mass: float = 0.0
    filled_frames: int = 0


def take_in(
    path: Path, plan: Import, source: Source, *, advance: Advance = lambda _: None
) -> TakenIn:
    """Fill, compare and seal the store at `path`.

    `advance` gets the frames that are written, then again when they are compared.

    Raises:
        StoreMismatch: when another store is there.
        StoreCorrupt: when the store does not return what the source holds.
        StoreError: when the source changes meanwhile, or the store cannot be written.
    """
    refuse_other_place(path)
    writer = StoreWriter.create(path, plan.about, utterances=plan.utterances)
    done, expected = TakenIn(), list[str]()
    stream = _blocks(plan, source, done, expected)
    missing = set(writer.missing_shards())
    for shard in range(writer.num_shards):
        rows = writer.shard(shard)
        blocks = (_next(stream, advance) for _ in rows)
        if shard in missing:
            writer.write_blocks(shard, blocks)
        else:
            for _ in blocks:
                pass
    _refuse_more(stream, source)
    _compare(path, expected, advance)
    done.digest = writer.seal()
    return done


def _blocks(
    plan: Import, source: Source, done: TakenIn, expected: list[str]
) -> Iterator[KeptBlock]:
    """What is kept of each utterance; fills `done` and the digests `expected` of a reader."""
    known = zip(plan.utterances, plan.digests, strict=False)
    for utterance in source.utterances(lambda _: None):
        _refuse_changed(utterance, *next(known, (None, "")))
        kept = keep_frames(utterance.frames, plan.about, normalise=plan.normalise)
        labels = labels_to_read(kept.block, plan.about)
        where = f"{utterance.where}, utterance {utterance.id!r}"
        error = largest_error(kept.block, labels, where=where)
        done.largest_error = max(done.largest_error, error)
        pruned_mass = np.exp(kept.block.logp_TK[labels.is_absent_TK]).sum(dtype=np.float64)
        done.dropped_mass += kept.dropped_mass + float(pruned_mass)
        done.filled_frames += kept.filled_frames if plan.about.pruning is None else 0
        expected.append(labels_digest(labels))
        yield kept.block


def _refuse_changed(utterance: SourceUtterance, row: StoreUtterance | None, digest: str) -> None:
    if row is None or (utterance.id, utterance.frames.digest) != (row.id, digest):
        raise StoreError(
            f"{utterance.where}, utterance {utterance.id!r}: the source has changed since it was "
            "checked: run the same command again when it is complete"
        )


def _next(stream: Iterator[KeptBlock], advance: Advance) -> KeptBlock:
    block = next(stream, None)
    if block is None:
        raise StoreError("the source has become shorter since it was checked: run it again")
    advance(len(block.ids_TK))
    return block


def _refuse_more(stream: Iterator[KeptBlock], source: Source) -> None:
    if next(stream, None) is not None:
        raise StoreError(f"{source.name} has grown since it was checked: run it again")


def _compare(path: Path, expected: list[str], advance: Advance) -> None:
    store = open_store(path, allow_unfinished=True)
    for row, digest in zip(store.utterances, expected, strict=True):
        labels = store.read([row.id], k=store.about.kept)
        if labels_digest(labels) != digest:
            raise StoreCorrupt(
                f"{path}, utterance {row.id!r}: what is read is not what the source holds: remove "
                "the store, and import it on another disk"
            )
        advance(row.num_frames)
