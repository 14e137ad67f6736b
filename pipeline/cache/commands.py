"""essence cache: inspect, check and repair one soft-label store, copy it, merge it, split it.

Exit codes: 0 sound or done, 1 failed, 2 misused, 3 damaged, 4 under construction.
Slow imports are inside the commands, as in pipeline/cli.py.
"""

import sys
from typing import TYPE_CHECKING, Any

import click

from pipeline.cache.arguments import (
    SubsetType,
    one_or_all,
    short_name,
    to_json,
    with_store,
    with_stores,
)
from pipeline.cache.exchange import export, import_
from pipeline.cache.parts import merge, recode, split
from pipeline.cache.pictures import audit, show
from pipeline.cache.transfer import pull, push
from storage.errors import StoreCorrupt, StoreError, StoreIncomplete

if TYPE_CHECKING:
    from storage.care.verify import Verified
    from storage.contents.object_check import Subset
    from storage.place.place import Place

DAMAGED, UNDER_CONSTRUCTION = 3, 4


class CacheDoor(click.Group):
    """Exits with separate codes for damaged and for unfinished stores."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. On an error of the store, print it and exit."""
        try:
            return super().invoke(ctx)
        except StoreCorrupt as error:
            click.echo(f"essence: {error}", err=True)
            sys.exit(DAMAGED)
        except StoreIncomplete as error:
            click.echo(f"essence: {error}", err=True)
            sys.exit(UNDER_CONSTRUCTION)


@click.group(cls=CacheDoor)
def cache() -> None:
    """Soft-label stores: inspect, check, repair, copy; merge, split, recode; import, export.

    STORE is the path of a .zarr folder, such as work/teacher-*/train.zarr, or the URL of a sealed
    store: https://host/train.zarr, s3://bucket/train.zarr (repair: a path only). info, verify and
    audit also accept a folder with stores, such as work/teacher-*: then --json prints a list.

    \b
    Exit codes: 0 sound or done, 1 failed, 2 misused, 3 damaged, 4 under construction.
    """


cache.add_command(audit)
cache.add_command(show)
cache.add_command(push)
cache.add_command(pull)
cache.add_command(merge)
cache.add_command(split)
cache.add_command(recode)
cache.add_command(import_)
cache.add_command(export)


@cache.command()
@with_stores
def info(stores: "tuple[Place, ...]", *, as_json: bool) -> None:
    """Print the content of a store and how it was made. Reads headers only.

    Of a folder with stores, such as a teacher's: of each of them.

    \b
    Example: essence cache info work/teacher-*

    \b
    Example: essence cache info --json https://host/stores/train.zarr
    """
    from pipeline.cache.tables import describe_info, gather_info
    from storage.read.reader import open_store

    facts = [gather_info(open_store(store, allow_unfinished=True)) for store in stores]
    texts = map(describe_info, facts)
    click.echo(to_json(one_or_all(facts)) if as_json else "\n\n".join(texts))


@cache.command()
@with_stores
@click.option("--data", is_flag=True, help="Read every byte, not sizes only.")
@click.option(
    "--subset", type=SubsetType(), default="1/1", help="With --data: read the nth of t parts."
)
@click.option(
    "--allow-partial", is_flag=True, help="Check the finished part of an unfinished store."
)
def verify(
    stores: "tuple[Place, ...]", *, as_json: bool, data: bool, subset: "Subset", allow_partial: bool
) -> None:
    """Compare a store with its manifest: sizes, and with --data every byte.

    Of a folder with stores, such as a teacher's: each of them. Exits with 0 when all are sound, 3
    when one is damaged, 4 when one is under construction.

    \b
    Example: essence cache verify --data --subset 1/30 work/teacher-*/train.zarr

    \b
    Example: essence cache verify s3://bucket/train.zarr
    """
    from pipeline.cache.tables import describe_verified

    found, codes = [], {0}
    for store in stores:
        try:  # a store that cannot be judged does not stop the check of the next one
            found.append(_verified(store, data=data, subset=subset, allow_partial=allow_partial))
        except (
            StoreCorrupt,
            StoreIncomplete,
        ) as error:
            click.echo(f"essence: {error}", err=True)
            codes.add(DAMAGED if isinstance(error, StoreCorrupt) else UNDER_CONSTRUCTION)
            continue
        codes |= {DAMAGED} if found[-1].problems else set()
        if not as_json:
            click.echo(describe_verified(store, found[-1], data=data))
    if as_json and found:
        click.echo(to_json(one_or_all(found)))
    sys.exit(DAMAGED if DAMAGED in codes else max(codes))


def _verified(store: "Place", *, data: bool, subset: "Subset", allow_partial: bool) -> "Verified":
    from pipeline.terminal.progress import TerminalProgress
    from storage.care.verify import plan_verify, verify_store

    plan = plan_verify(store, subset=subset, allow_unfinished=allow_partial)
    title = f"verify {short_name(store)}"
    with TerminalProgress().task(title, total=plan.num_bytes, unit="bytes") as task:
        return verify_store(plan, data=data, advance=task.advance)


@cache.command("list")
@with_store
def list_utterances(store: "Place", *, as_json: bool) -> None:
    """Print the utterances of a store: id, frames, shard. Reads headers only.

    \b
    Example: essence cache list work/teacher-*/dev.zarr
    """
    from pipeline.cache.tables import describe_utterances, gather_utterances
    from storage.read.reader import open_store

    rows = gather_utterances(open_store(store, allow_unfinished=True))
    click.echo(to_json(rows) if as_json else describe_utterances(rows))


@cache.command()
@with_store
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
def repair(store: "Place", *, as_json: bool, dry_run: bool) -> None:
    """Remove damaged shards, so that 'essence teacher' makes these again, and only these.

    Reads every byte. Removed shards are moved to STORE.quarantine; the store is then under
    construction, and so is the teacher's folder. The teacher makes the same bytes again.

    \b
    Example: essence cache repair work/teacher-*/train.zarr
    """
    from pipeline.cache.repair import describe_repair, repair_in_place

    if store.folder is None:
        raise StoreError(f"{store} is on a server: copy it to this machine, or repair it there")
    done = repair_in_place(store.folder, dry_run=dry_run)
    click.echo(to_json(done) if as_json else describe_repair(done))
