"""essence cache audit | show: figures of a store, printed and drawn.

Slow imports are inside the commands, as in pipeline/cli.py.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cache.arguments import (
    one_or_all,
    to_json,
    with_corpus,
    with_out,
    with_store,
    with_stores,
)
from pipeline.errors import NotInstalled
from pipeline.terminal.extras import lacks
from storage.errors import StoreError

if TYPE_CHECKING:
    from stages.report.shown_classes import Shown
    from storage.care.store_audit import StoreAudit
    from storage.place.place import Place
    from storage.read.reader import SoftLabelStore

ASSUMED_SHIFT_MS = 10.0  # of stores whose frame shift was not recorded


@click.command()
@with_stores
@with_corpus
@with_out("audit.png")
def audit(
    stores: "tuple[Place, ...]", *, as_json: bool, corpus: Path | None, out: Path | None
) -> None:
    """Print what each k keeps and costs, before a student is trained.

    Prints a line for each k and draws the same: probability kept and left out, entropy, bytes to
    read, and how often the hard label is among the k. Of frames with a hard label also: how often
    rank 1 is another class, entropy, -ln q(label); the same of dev, if dev.zarr is next to
    train.zarr. Of a store that 'essence teacher' made, these figures are in summary.json. Of any
    other store, or with --corpus, the whole store is read. Of a folder with stores, such as a
    teacher's: each of them, drawn to audit-train.png and so on.

    \b
    Example: essence cache audit work/teacher-*
    Example: essence cache audit --corpus work/corpus-*/train.h5 work/teacher-*/train.zarr
    """
    from pipeline.cache.audit import dev_audit, read_or_measure
    from pipeline.cache.tables import describe_audit, describe_labelled

    if corpus is not None and len(stores) > 1:
        raise click.UsageError("--corpus has the labels of one split: name its store, not a folder")
    found = [read_or_measure(store, corpus) for store in stores]
    if as_json:
        click.echo(to_json(one_or_all(found)))
    for store, each in zip(stores, found, strict=True):
        if not as_json:
            click.echo(describe_audit(each))
        if each.num_labelled and not as_json:
            click.echo(describe_labelled(each, dev_audit(store, corpus)))
        file = out or Path("audit.png")
        of_this = file.with_stem(f"{file.stem}-{each.split}") if len(stores) > 1 else file
        _draw(of_this, partial(_audit_figure, each), must=out is not None)


def _audit_figure(found: "StoreAudit") -> Any:
    from stages.report.audit_figure import draw_audit

    return draw_audit(found)


@click.command()
@with_store
@click.argument("utterance", required=False)
@with_corpus
@with_out("posteriorgram.png")
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
    utterance: str | None,
    *,
    as_json: bool,
    corpus: Path | None,
    out: Path | None,
    k: int | None,
    classes: int,
) -> None:
    """Draw the soft labels of an utterance: classes over time, hard labels, the tail below.

    Without UTTERANCE: the first one that has frames. 'essence cache list' prints all ids.

    \b
    Example: essence cache show work/teacher-*/dev.zarr --k 4
    """
    from pipeline.cache.tables import describe_shown
    from stages.report.shown_classes import choose_classes
    from storage.care.match import match_corpus
    from storage.read.reader import open_store

    opened = open_store(store)
    utterance = utterance or _first_utterance(opened)
    soft = opened.read_utterance(utterance, k or opened.about.kept)
    with _opened_corpus(corpus) as labels:
        hard = None
        if labels is not None:
            match_corpus(opened, labels)
            hard = labels.labels(labels.index_of(utterance))
    shift_ms = opened.about.frame_shift_ms
    if not shift_ms:
        click.echo(f"the frame shift is not recorded: {ASSUMED_SHIFT_MS:g} ms assumed", err=True)
    shown = choose_classes(
        soft,
        utterance=utterance,
        seconds_per_frame=(shift_ms or ASSUMED_SHIFT_MS) / 1000,
        num_classes=classes,
        hard_labels_T=hard,
    )
    facts = describe_shown(shown, soft)
    click.echo(to_json(facts) if as_json else "\n".join(f"{n}: {v}" for n, v in facts.items()))
    _draw(
        out or Path("posteriorgram.png"),
        partial(_soft_label_figure, shown),
        must=out is not None,
    )


def _first_utterance(store: "SoftLabelStore") -> str:
    for row in store.utterances:
        if row.num_frames:
            return row.id
    raise StoreError(f"{store.place} holds no utterance with frames: name another store")


def _soft_label_figure(shown: "Shown") -> Any:
    from stages.report.soft_label_figure import draw_soft_labels

    return draw_soft_labels(shown)


def _opened_corpus(path: Path | None) -> Any:
    from contextlib import nullcontext

    from storage.corpus.corpus_file import CorpusFile

    return nullcontext() if path is None else CorpusFile(path)


def _draw(out: Path, draw: Callable[[], Any], *, must: bool) -> None:
    """Write a picture. Without matplotlib a note, or an error if it `must` be drawn."""
    from storage.files.publish import publish_file

    try:
        from stages.report.drawing import house_style, to_png

        with house_style():
            picture = to_png(draw(), dots_per_inch=120)
    except ModuleNotFoundError as missing:
        words = lacks(missing)
        if words is None:
            raise
        if must:
            raise NotInstalled(words) from missing
        click.echo(f"no picture: {words}", err=True)
        return
    publish_file(out, picture)
    click.echo(f"picture: {out}", err=True)
