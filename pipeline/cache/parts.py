"""essence cache merge | split | recode: stores made of stores. See docs/merge-split.md.

Slow imports are inside the commands, as in pipeline/cli.py.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stages.contract.version import VERSION

if TYPE_CHECKING:
    from storage.contents.contents import StoreContents
    from storage.derived.plan import DerivedPlan
    from storage.format.codec import CodecChoice

STORE = click.argument("store", metavar="STORE")


class PlaceHere(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """A folder of this machine."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """A path, or a file:// URL."""
        from storage.place.find_place import find_place

        place = find_place(value)
        if place.folder is None:
            self.fail(f"{place} is not here: name a folder, then 'essence cache push'", param, ctx)
        return place.folder


OUT = click.argument("out", type=PlaceHere())
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")
DRY_RUN = click.option(
    "--dry-run", is_flag=True, help="Print what would be made, and make nothing."
)


@click.command()
@OUT
@click.argument("stores", nargs=-1, required=True, metavar="STORE STORE...")
@click.option(
    "--recode",
    is_flag=True,
    help="Encode all shards again: for stores with different shard sizes, formats or codecs.",
)
@DRY_RUN
@AS_JSON
def merge(
    out: Path, stores: tuple[str, ...], *, recode: bool, dry_run: bool, as_json: bool
) -> None:
    """Make one store at OUT of the utterances of several.

    They must hold different utterances of one split, labelled by the same ensemble with the same
    settings; differences are listed field by field. Every shard is copied byte for byte, and
    compared with its manifest. The stores may be URLs. After an interruption the same command
    continues.

    \b
    Example: essence cache merge train.zarr part-1-of-2.zarr part-2-of-2.zarr
    """
    from storage.contents.contents import read_contents
    from storage.derived.merge import plan_merge
    from storage.place.find_place import find_place

    sources = [read_contents(find_place(store)) for store in stores]
    plan = plan_merge(sources, recode=recode, program_version=VERSION)
    made = _make(out, plan, sources, dry_run=dry_run)
    click.echo(json.dumps(made, indent=2) if as_json else _describe(made))


@click.command()
@STORE
@OUT
@click.option(
    "--utterances",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    metavar="LIST",
    help="File with the ids to take, one a line, or each ended by NUL; - is standard input.",
)
@click.option("--num-parts", type=click.IntRange(min=2), help="Cut the store into this many parts.")
@DRY_RUN
@AS_JSON
def split(
    store: str,
    out: Path,
    *,
    utterances: str | None,
    num_parts: int | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Cut utterances out of a store, or cut it into parts. STORE stays as it is; it may be a URL.

    With --utterances OUT is the new store. With --num-parts OUT is a folder, for stores such as
    train-1-of-4.zarr, with about the same number of frames each. Stored values do not change, and
    shards that are taken whole keep their bytes. After an interruption the same command continues.

    \b
    Examples: essence cache split train.zarr small.zarr --utterances small.txt
              essence cache split train.zarr parts --num-parts 4
    """
    from storage.contents.contents import read_contents
    from storage.derived.split import find_rows, plan_parts, plan_split
    from storage.place.find_place import find_place

    source = read_contents(find_place(store))
    if num_parts is None and utterances is not None:
        with click.open_file(utterances, "rb") as file:
            chosen = {out: find_rows(source, read_ids(file.read(), where=utterances))}
    elif num_parts is not None and utterances is None:
        parts = plan_parts(source, num_parts)
        chosen = {
            out / _part_name(source, number, num_parts): frozenset(rows)
            for number, rows in enumerate(parts, start=1)
        }
    else:
        raise click.UsageError("give either --utterances or --num-parts")
    made = []
    for place, rows in chosen.items():
        plan = plan_split(source, rows, program_version=VERSION)
        made.append(_make(place, plan, [source], dry_run=dry_run))
        if not as_json:
            click.echo(_describe(made[-1]))
    if as_json:
        click.echo(json.dumps(made, indent=2))


@click.command()
@STORE
@OUT
@click.option(
    "--codec",
    type=click.Choice(["lz4", "zstd"]),
    default="lz4",
    show_default=True,
    help="lz4 is read faster, zstd is smaller.",
)
@DRY_RUN
@AS_JSON
def recode(store: str, out: Path, *, codec: "CodecChoice", dry_run: bool, as_json: bool) -> None:
    """Make a store in today's format at OUT, with the values of STORE and another codec.

    STORE stays as it is, may be of format 1, and may be a URL. Values are copied as they are
    stored; every chunk is decompressed again and compared. The new store has a digest of its own,
    and names STORE's as its origin. After an interruption the same command continues.

    \b
    Example: essence cache recode old/train.zarr train.zarr
    """
    from storage.contents.contents import read_contents
    from storage.derived.recode import plan_recode
    from storage.place.find_place import find_place

    source = read_contents(find_place(store))
    plan = plan_recode(source, codec, program_version=VERSION)
    made = _make(out, plan, [source], dry_run=dry_run)
    click.echo(json.dumps(made, indent=2) if as_json else _describe(made))


def _part_name(source: "StoreContents", number: int, num_parts: int) -> str:
    """train-02-of-12.zarr of train.zarr."""
    stem = source.place.address.rsplit("/", 1)[-1].removesuffix(".zarr")
    return f"{stem}-{number:0{len(str(num_parts))}}-of-{num_parts}.zarr"


def read_ids(content: bytes, *, where: str) -> list[str]:
    """Utterance ids, one a line; each ended by NUL where the list holds one.

    Raises:
        SettingsError: when it is not UTF-8, or names nothing.
    """
    from pipeline.errors import SettingsError

    try:
        text = content.decode()
    except UnicodeDecodeError as cause:
        raise SettingsError(f"{where} is not UTF-8 ({cause}): wanted one id a line") from cause
    if "\0" in text:
        return text.removesuffix("\0").split("\0")
    ids = [line.removesuffix("\r") for line in text.split("\n")]
    if not any(ids):
        raise SettingsError(f"{where} names no utterance: wanted one id a line")
    return [id for id in ids if id]


def _make(
    place: Path, plan: "DerivedPlan", sources: "Sequence[StoreContents]", *, dry_run: bool
) -> dict[str, Any]:
    from pipeline.terminal.progress import TerminalProgress
    from storage.derived.store import write_derived
    from storage.files.publish import make_directories

    digest = None
    if not dry_run:
        make_directories(place.parent)
        with TerminalProgress().task(
            f"write {place.name}", total=plan.num_frames, unit="frames"
        ) as task:
            digest = write_derived(place, plan, sources, advance=task.advance)
    return {
        "store": str(place),
        "digest": digest,
        "num_utterances": len(plan.utterances),
        "num_frames": plan.num_frames,
        "num_shards": len(plan.recipes),
        "num_shards_as_they_were": plan.num_whole,
    }


def _describe(made: dict[str, Any]) -> str:
    whole, others = made["num_shards_as_they_were"], made["num_shards"]
    return (
        f"{made['store']}: {made['num_frames']:,} frames of {made['num_utterances']:,} utterances "
        f"in {others} shards, {whole} of them as they were, {others - whole} encoded again\n"
        + (f"sealed: {made['digest']}" if made["digest"] else "not made: this is a dry run")
    )
