"""essence cache push | pull: copy soft-label stores between machines, and parts of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from storage.transfer.plan import Selection, TransferPlan
    from storage.transfer.target import Target


class RangesType(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """0-3,7: numbers and ranges of them."""

    name = "a-b,c"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[tuple[int, int], ...]:
        """The text 0-3,7 -> ((0, 3), (7, 7))."""
        from storage.format.partial_copy import joined

        ranges = []
        for text in str(value).split(","):
            first, dash, last = text.strip().partition("-")
            numbers = [first, last if dash else first]
            if not all(n.isascii() and n.isdigit() and len(n) < 10 for n in numbers):
                self.fail(f"found {value!r}, wanted numbers and ranges as in 0-3,7", param, ctx)
            if int(numbers[0]) > int(numbers[1]):
                self.fail(f"{text.strip()!r} ends before it begins", param, ctx)
            ranges.append((int(numbers[0]), int(numbers[1])))
        return joined(ranges)


def _words(_context: click.Context, _param: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())


def _with_transfer(command: Callable[..., None]) -> Callable[..., None]:
    """The arguments and options that both directions have."""
    for decorate in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON instead."),
        click.option("--dry-run", is_flag=True, help="Print what would be copied, and do nothing."),
        click.option(
            "--threads",
            type=click.IntRange(1, 64),
            default=8,
            show_default=True,
            help="Objects that are moved at a time.",
        ),
        click.option(
            "--splits",
            callback=_words,
            metavar="train,dev",
            help="Of a folder with several stores, such as a teacher's: these. Default: all.",
        ),
        click.argument("destination", metavar="DEST"),
        click.argument("source", metavar="SRC"),
    ):
        command = decorate(command)
    return command


@click.command()
@_with_transfer
@click.option("--check", is_flag=True, help="Read back every object from the destination.")
def push(
    source: str,
    destination: str,
    *,
    splits: tuple[str, ...],
    threads: int,
    dry_run: bool,
    as_json: bool,
    check: bool,
) -> None:
    """Copy a sealed store, or a folder's stores, to another place.

    SRC is a store (train.zarr) or a folder with stores, such as a teacher's. DEST is a path or a
    URL: file://, s3://, gs://, sftp://. It becomes the store itself, or the folder of the stores.
    Every object is compared with the manifest before it is sent; HEAD is sent last. Stopped or
    killed, the same command goes on: what is there is not sent again.

    \b
    Examples: essence cache push work/teacher-5a7227487ef6 s3://bucket/an4
              essence cache push work/teacher-5a7227487ef6/train.zarr sftp://host/data/train.zarr
              essence cache push --dry-run work/teacher-5a7227487ef6 /media/disk/an4
    """
    from storage.transfer.plan import EVERYTHING

    done = [
        _copy(place, target, EVERYTHING, threads=threads, dry_run=dry_run)
        for place, target in _pairs(source, destination, splits, check=check)
    ]
    _print(done, as_json=as_json)


@click.command()
@_with_transfer
@click.option(
    "--k",
    "ks",
    type=RangesType(),
    metavar="K[,K]",
    help="Only what readers of k ranks need: 8, or 4,8. Default: all ranks.",
)
@click.option("--shards", type=RangesType(), metavar="A-B,C", help="Only these shards, from 0.")
@click.option(
    "--expect",
    multiple=True,
    metavar="DIGEST",
    help="Take nothing but the store with this digest. Once for each store.",
)
def pull(
    source: str,
    destination: str,
    *,
    splits: tuple[str, ...],
    threads: int,
    dry_run: bool,
    as_json: bool,
    ks: tuple[tuple[int, int], ...] | None,
    shards: tuple[tuple[int, int], ...] | None,
    expect: tuple[str, ...],
) -> None:
    """Copy a store from elsewhere, or what a student with a smaller k needs of it.

    SRC is a path or a URL: https://, s3://, gs://, sftp://, of a store or of a folder with
    train.zarr, dev.zarr, ... DEST is a folder here. Every object is compared with the manifest
    before it gets its name. Stopped or killed, the same command goes on: what is here is not
    moved again. With --k or --shards the copy is partial; an error says so when something is read
    that it has not; a later pull adds to it.

    \b
    Examples: essence cache pull https://host/an4/train.zarr an4/train.zarr --k 8
              essence cache pull s3://bucket/an4 an4 --splits train --shards 0-3,7
              essence cache pull https://host/an4/train.zarr an4/train.zarr --expect DIGEST
    """
    from storage.transfer.plan import Selection

    selection = Selection(ks=_numbers(ks or ()), shards=shards or ())
    done = [
        _copy(place, target, selection, threads=threads, dry_run=dry_run, expect=expect)
        for place, target in _pairs(source, _here(destination), splits)
    ]  # fmt: skip
    _print(done, as_json=as_json)


def _numbers(ranges: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
    """Both ends of each range: a reader of all ranks between needs no more."""
    return tuple(sorted({k for pair in ranges for k in pair}))


def _here(destination: str) -> str:
    from storage.place.find_place import find_place

    place = find_place(destination)
    if place.folder is None:
        raise click.UsageError(
            f"pull brings a store to a folder here, found {place}: use 'essence cache push'"
        )
    return destination


def _pairs(
    source: str, destination: str, splits: tuple[str, ...], *, check: bool = False
) -> Iterator[tuple[str, "Target"]]:
    """Where from, where to, of every store."""
    from storage.transfer.stores import find_stores, find_target

    for name, place in find_stores(source, splits).items():
        below = f"{destination.rstrip('/')}/{name}" if name else destination
        yield place, find_target(below, check=check)


def _copy(
    place: str,
    target: "Target",
    selection: "Selection",
    *,
    threads: int,
    dry_run: bool,
    expect: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Look, plan, move. Returns what was done, or would be."""
    from pipeline.terminal.progress import TerminalProgress
    from storage.transfer.copy import carry_out, choose, survey
    from storage.transfer.plan import choose_objects
    from storage.transfer.source import open_source

    progress, began, shown = TerminalProgress(), time.monotonic(), str(target)
    source = open_source(place, expect=expect)
    part = choose(source, target, selection)
    survey(source, target, part, careful=False)  # refusals come before anything is made
    with nullcontext() if dry_run else target.locked():
        part = choose(source, target, selection)
        chosen = choose_objects(source.contents.records, part)
        total = sum(record.num_bytes for record in chosen.values())
        with progress.task(f"look at {shown}", total=total, unit="bytes") as task:
            careful = target.is_careful and not dry_run
            plan = survey(source, target, part, careful=careful, advance=task.advance)
        if not dry_run:
            with progress.task(f"copy to {shown}", total=plan.num_bytes, unit="bytes") as task:
                objects = 0
                for moved in carry_out(plan, source, target, num_threads=threads):
                    objects += moved.is_whole
                    task.advance(moved.num_bytes, objects=f"{objects:,}/{len(plan.to_move):,}")
    return _facts(plan, shown, done=not dry_run, seconds=time.monotonic() - began)


def _facts(plan: "TransferPlan", shown: str, *, done: bool, seconds: float) -> dict[str, Any]:
    return {
        "store": shown,
        "digest": plan.digest,
        "done": done,
        "moved_objects": len(plan.to_move),
        "moved_bytes": plan.num_bytes,
        "there_objects": len(plan.there),
        "there_bytes": plan.bytes_there,
        "whole_bytes": plan.whole_bytes,
        "is_partial": plan.part is not None,
        "seconds": round(seconds, 3),
    }


def _print(done: list[dict[str, Any]], *, as_json: bool) -> None:
    import json

    click.echo(json.dumps(done, indent=2) if as_json else "\n".join(map(_describe, done)))


def _describe(facts: dict[str, Any]) -> str:
    moved, there, whole = facts["moved_bytes"], facts["there_bytes"], facts["whole_bytes"]
    verb = "moved" if facts["done"] else "would move"
    rate = f" in {facts['seconds']:.1f} s" if facts["done"] else ""
    lines = [
        f"{facts['store']}: {verb} {moved:,} bytes in {facts['moved_objects']:,} objects{rate}",
        f"  there already: {there:,} bytes in {facts['there_objects']:,} objects",
    ]
    if facts["is_partial"]:
        lines.append(f"  a partial copy: {(moved + there) / max(whole, 1):.1%} of {whole:,} bytes")
    return "\n".join([*lines, f"  digest: {facts['digest']}"])
