"""essence cache audit | show: figures of a store, printed and drawn.

Slow imports are inside the commands, as in pipeline/cli.py.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cache.arguments import to_json, with_corpus, with_out, with_store

if TYPE_CHECKING:
    from storage.place.place import Place


@click.command()
@with_store
@with_corpus
@with_out("audit.png")
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
        click.echo(to_json(found))
    else:
        click.echo(describe_audit(found))
        if found.num_labelled:
            click.echo(describe_labelled(found, dev_audit(store, corpus)))
    click.echo(f"picture: {out}", err=True)


@click.command()
@with_store
@click.argument("utterance")
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
    from stages.report.shown_classes import choose_classes
    from stages.report.soft_label_figure import draw_soft_labels
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
    click.echo(to_json(facts) if as_json else "\n".join(f"{n}: {v}" for n, v in facts.items()))
    click.echo(f"picture: {out}", err=True)


def _opened_corpus(path: Path | None) -> Any:
    from contextlib import nullcontext

    from storage.corpus.corpus_file import CorpusFile

    return nullcontext() if path is None else CorpusFile(path)


def _save(out: Path, draw: Callable[[], Any]) -> None:
    from stages.report.drawing import house_style, to_png
    from storage.files.publish import publish_file

    with house_style():
        publish_file(out, to_png(draw(), dots_per_inch=120))
