"""essence cache: inspect, check and repair one soft-label store, copy it, merge it, split it.

Exit codes: 0 sound or done, 1 failed, 2 misused, 3 damaged, 4 under construction.
Slow imports are inside the commands, as in pipeline/cli.py.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cache.parts import merge, split
from pipeline.cache.transfer import pull, push
from storage.errors import StoreCorrupt, StoreError, StoreIncomplete

if TYPE_CHECKING:
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


class SubsetType(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """n/t: the nth of t parts."""

    name = "n/t"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Subset":
        """The text 2/7 -> Subset(2, 7)."""
        from storage.contents.object_check import Subset

        number, slash, parts = str(value).partition("/")
        is_number = number.isascii() and number.isdigit() and parts.isascii() and parts.isdigit()
        if not slash or not is_number or not 1 <= int(number) <= int(parts):
            self.fail(f"found {value!r}, wanted n/t with 1 <= n <= t, as in 2/7", param, ctx)
        return Subset(int(number), int(parts))


class StorePlace(click.ParamType):  # type: ignore[type-arg]  # as above
    """The path of a store, or its URL."""

    name = "path or URL"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> "Place":
        """The text https://host/train.zarr -> a place on a server; a path -> a folder."""
        from storage.place.find_place import find_place

        return find_place(value)


def _with_store(command: Callable[..., None]) -> Callable[..., None]:
    """The argument and the option that all commands have."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")(command)
    return click.argument("store", type=StorePlace())(command)


def _with_corpus(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--corpus",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Corpus file of the same split (work/corpus-*/train.h5): adds its hard labels.",
    )(command)


def _with_out(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        default=default,
        show_default=True,
        help="Where the picture goes.",
    )


@click.group(cls=CacheDoor)
def cache() -> None:
    """Soft-label stores: inspect, check, repair, copy; merge several, split one.

    STORE is the path of a .zarr folder, such as work/teacher-*/train.zarr, or the URL of a sealed
    store: https://host/train.zarr, s3://bucket/train.zarr (repair: a path only).

    \b
    Exit codes: 0 sound or done, 1 failed, 2 misused, 3 damaged, 4 under construction.
    """


cache.add_command(push)
cache.add_command(pull)
cache.add_command(merge)
cache.add_command(split)


@cache.command()
@_with_store
def info(store: "Place", *, as_json: bool) -> None:
    """Print the content of a store and how it was made. Reads headers only.

    \b
    Example: essence cache info work/teacher-5a7227487ef6/train.zarr

    \b
    Example: essence cache info --json https://host/stores/train.zarr
    """
    from pipeline.cache.tables import describe_info, gather_info
    from storage.read.reader import open_store

    facts = gather_info(open_store(store, allow_unfinished=True))
    click.echo(_json(facts) if as_json else describe_info(facts))


@cache.command()
@_with_store
@click.option("--data", is_flag=True, help="Read every byte, not sizes only.")
@click.option(
    "--subset", type=SubsetType(), default="1/1", help="With --data: read the nth of t parts."
)
@click.option(
    "--allow-partial", is_flag=True, help="Check the finished part of an unfinished store."
)
def verify(
    store: "Place", *, as_json: bool, data: bool, subset: "Subset", allow_partial: bool
) -> None:
    """Compare a store with its manifest: sizes, and with --data every byte.

    Exits with 0 when it is sound, 3 when it is damaged, 4 when it is under construction.

    \b
    Example: essence cache verify --data --subset 1/30 work/teacher-5a7227487ef6/train.zarr

    \b
    Example: essence cache verify s3://bucket/train.zarr
    """
    from pipeline.cache.tables import describe_verified
    from pipeline.terminal.progress import TerminalProgress
    from storage.care.verify import plan_verify, verify_store

    plan = plan_verify(store, subset=subset, allow_unfinished=allow_partial)
    title = f"verify {_name(store)}"
    with TerminalProgress().task(title, total=plan.num_bytes, unit="bytes") as task:
        found = verify_store(plan, data=data, advance=task.advance)
    click.echo(_json(found) if as_json else describe_verified(store, found, data=data))
    if found.problems:
        sys.exit(DAMAGED)


@cache.command()
@_with_store
@_with_corpus
@_with_out("audit.png")
def audit(store: "Place", *, as_json: bool, corpus: Path | None, out: Path) -> None:
    """Print what each k keeps and costs, before a student is trained.

    Prints a line for each k and draws the same: probability kept and left out, entropy, bytes to
    read, and how often the hard label is among the k. Of frames with a hard label also: how often
    rank 1 is another class, entropy, -ln q(label); the same of dev, if dev.zarr is next to
    train.zarr. Of a store that 'essence teacher' made, these figures are in summary.json. Of any
    other store, or with --corpus, the whole store is read.

    \b
    Example: essence cache audit --corpus work/corpus-da37a61b1938/train.h5 \\
                 work/teacher-5a7227487ef6/train.zarr
    """
    from pipeline.cache.audit import dev_audit, read_or_measure
    from pipeline.cache.tables import describe_audit, describe_labelled
    from stages.report.audit_figure import draw_audit

    found = read_or_measure(store, corpus)
    _save(out, lambda: draw_audit(found))
    if as_json:
        click.echo(_json(found))
    else:
        click.echo(describe_audit(found))
        if found.num_labelled:
            click.echo(describe_labelled(found, dev_audit(store, corpus)))
    click.echo(f"picture: {out}", err=True)


@cache.command()
@_with_store
@click.argument("utterance")
@_with_corpus
@_with_out("posteriorgram.png")
@click.option("--k", type=click.IntRange(min=1), help="Ranks to draw; default: all.")
@click.option(
    "--classes",
    type=click.IntRange(2, 200),
    default=30,
    show_default=True,
    help="Classes to draw: the most probable ones.",
)
def show(
    store: "Place",
    utterance: str,
    *,
    as_json: bool,
    corpus: Path | None,
    out: Path,
    k: int | None,
    classes: int,
) -> None:
    """Draw the soft labels of an utterance: classes over time, hard labels, the tail below.

    \b
    Example: essence cache show work/teacher-5a7227487ef6/dev.zarr dev-00003 --k 8
    """
    from pipeline.cache.tables import describe_shown
    from stages.report.soft_label_figure import choose_classes, draw_soft_labels
    from storage.care.match import match_corpus
    from storage.read.reader import open_store

    opened = open_store(store)
    soft = opened.read_utterance(utterance, k or opened.about.kept)
    with _opened_corpus(corpus) as labels:
        hard = None
        if labels is not None:
            match_corpus(opened, labels)
            hard = labels.labels(labels.index_of(utterance))
    shown = choose_classes(
        soft,
        utterance=utterance,
        seconds_per_frame=opened.about.frame_shift_ms / 1000,
        num_classes=classes,
        hard_labels_T=hard,
    )
    _save(out, lambda: draw_soft_labels(shown))
    facts = describe_shown(shown, soft)
    click.echo(_json(facts) if as_json else "\n".join(f"{n}: {v}" for n, v in facts.items()))
    click.echo(f"picture: {out}", err=True)


@cache.command()
@_with_store
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
def repair(store: "Place", *, as_json: bool, dry_run: bool) -> None:
    """Remove damaged shards, so that 'essence teacher' makes these again, and only these.

    Reads every byte. Removed shards are moved to STORE.quarantine; the store is then under
    construction, and so is the teacher's folder. The teacher makes the same bytes again.

    \b
    Example: essence cache repair work/teacher-5a7227487ef6/train.zarr
    """
    from pipeline.cache.repair import describe_repair, repair_in_place

    if store.folder is None:
        raise StoreError(f"{store} is on a server: copy it to this machine, or repair it there")
    done = repair_in_place(store.folder, dry_run=dry_run)
    click.echo(_json(done) if as_json else describe_repair(done))


def _name(store: "Place") -> str:
    return str(store).rsplit("/", 1)[-1]


def _json(value: Any) -> str:
    from dataclasses import asdict, is_dataclass

    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.dumps(plain, indent=2, ensure_ascii=False)


def _opened_corpus(path: Path | None) -> Any:
    from contextlib import nullcontext

    from storage.corpus.corpus_file import CorpusFile

    return nullcontext() if path is None else CorpusFile(path)


def _save(out: Path, draw: Callable[[], Any]) -> None:
    from stages.report.drawing import house_style, to_png
    from storage.files.publish import publish_file

    with house_style():
        publish_file(out, to_png(draw(), dots_per_inch=120))
