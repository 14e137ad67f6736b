"""essence cache import | export: stores from and to the files of other programs (docs/exchange.md).

Slow imports are inside the commands, as in pipeline/cli.py.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cache.arguments import StorePlace
from pipeline.cache.parts import AS_JSON, DRY_RUN, PlaceHere
from stages.contract.version import VERSION

if TYPE_CHECKING:
    from storage.exchange.frames import Source
    from storage.exchange.plan import Import
    from storage.exchange.survey import Survey
    from storage.exchange.take_in import TakenIn
    from storage.place.place import Place

NUMPY = (".npz", ".npy")


@click.command("import")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.argument("store", type=PlaceHere())
@click.option("--k", type=click.IntRange(1, 4096), help="Ranks to keep. Default: 32 at most.")
@click.option("--keep-mass", type=float, help="Fewer ranks: those with this mass together.")
@click.option(
    "--keep-min-prob", type=float, help="Fewer ranks: those of at least this probability."
)
@click.option(
    "--num-classes", type=click.IntRange(1), help="Of a source of pairs, without --corpus."
)
@click.option(
    "--corpus",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Corpus file (work/corpus-*/train.h5) to which the store then belongs.",
)
@click.option(
    "--posteriors-are",
    type=click.Choice(["log", "prob"]),
    default="log",
    show_default=True,
    help="Values of matrices and arrays: natural logarithms, or probabilities.",
)
@click.option("--normalise", is_flag=True, help="Scale each frame to sum to one.")
@click.option("--split", help="Recorded; default: train. Not with --corpus, nor the next.")
@click.option("--frame-shift-ms", type=float, help="Recorded if given.")
@DRY_RUN
@AS_JSON
def import_(
    sources: tuple[str, ...],
    store: Path,
    *,
    k: int | None,
    keep_mass: float | None,
    keep_min_prob: float | None,
    num_classes: int | None,
    corpus: Path | None,
    posteriors_are: str,
    normalise: bool,
    split: str | None,
    frame_shift_ms: float | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make a store of posteriors that another program computed.

    SOURCE is a Kaldi archive (ark:FILE, scp:FILE, or a path; text or binary, .gz too) of Posteriors
    or of matrices of log-posteriors; or numpy arrays (frames, classes): a folder of ID.npy, or an
    .npz. Everything is read and checked before anything is made, and what was written is read again
    and compared with it. After an interruption the same command continues.

    What is lost is printed: ranks beyond K join the tail; a probability is stored in 8 bits. What
    pairs leave to 1 is taken as the tail.

    \b
    Examples: essence cache import post.ark train.zarr --num-classes 128
              essence cache import logp.1.ark.gz logp.2.ark.gz train.zarr --k 16
    """
    from pipeline.terminal.progress import TerminalProgress
    from storage.corpus.corpus_file import CorpusFile
    from storage.exchange.plan import Identity, identity_of, plan_import
    from storage.exchange.survey import survey
    from storage.exchange.take_in import take_in
    from storage.format.pruning import make_pruning

    source = _source(sources, are_logarithms=posteriors_are == "log")
    identity = Identity(
        split=split or "train", frame_shift_ms=frame_shift_ms or 0.0, num_classes=num_classes
    )
    if corpus is not None:
        given = {
            "--num-classes": num_classes,
            "--split": split,
            "--frame-shift-ms": frame_shift_ms,
        }
        if named := [name for name, value in given.items() if value is not None]:
            raise click.UsageError(f"{', '.join(named)}: with --corpus, {corpus} has them")
        with CorpusFile(corpus) as file:
            identity = identity_of(file)
    progress = TerminalProgress()
    with progress.task(f"check {sources[0]}", total=source.num_bytes, unit="bytes") as task:
        found = survey(
            source,
            num_classes=identity.num_classes,
            normalise=normalise,
            corpus=identity.rows,
            advance=task.advance,
        )
    plan = plan_import(
        found,
        identity,
        k=k,
        normalise=normalise,
        program_version=VERSION,
        pruning=make_pruning(mass=keep_mass, min_prob=keep_min_prob),
    )
    done = None
    if not dry_run:
        title, total = f"write and compare {store.name}", 2 * plan.num_frames
        with progress.task(title, total=total, unit="frames") as task:
            done = take_in(store, plan, source, advance=task.advance)
    facts = _facts(store, found, plan, done)
    click.echo(json.dumps(facts, indent=2) if as_json else _describe(facts))


@click.command()
@click.argument("store", type=StorePlace())
@click.argument("target", metavar="TARGET")
@click.option("--k", type=click.IntRange(min=1), help="Ranks to write. Default: all of the store.")
@click.option("--dense", is_flag=True, help="Matrices over all classes instead of pairs.")
@AS_JSON
def export(store: "Place", target: str, *, k: int | None, dense: bool, as_json: bool) -> None:
    """Write a store as a Kaldi archive: pairs of class and probability, or log-posteriors.

    TARGET is ark:FILE, ark,t:FILE (text), ark,scp:FILE,FILE, or a path. The archive is a Posterior,
    whose pairs are the first k ranks with the store's probabilities; the tail is not in it. With
    --dense it holds matrices of natural logarithms: the tail is spread evenly over all other
    classes, and each frame scaled to sum to one. What was written is read again and compared.
    After an interruption the same command continues.

    \b
    Examples: essence cache export work/teacher-5a7227487ef6/train.zarr ark,scp:post.ark,post.scp
              essence cache export --dense --k 8 train.zarr logp.ark
    """
    from pipeline.terminal.progress import TerminalProgress
    from stages.acoustic.kaldi.posterior_export import Export, export_store
    from stages.acoustic.kaldi.specifier import parse_to_write
    from storage.read.reader import open_store

    opened = open_store(store)
    wanted = Export(target=parse_to_write(target), k=k or opened.about.kept, is_dense=dense)
    title = f"write and compare {wanted.target.path.name}"
    with TerminalProgress().task(title, total=2 * opened.num_frames, unit="frames") as task:
        num_bytes = export_store(opened, wanted, advance=task.advance)
    facts = {
        "archive": str(wanted.target.path),
        "scp": str(wanted.target.scp) if wanted.target.scp else None,
        "store": opened.digest,
        "num_utterances": len(opened.utterances),
        "num_frames": opened.num_frames,
        "num_bytes": num_bytes,
        "k": wanted.k,
        "is_dense": dense,
    }
    click.echo(json.dumps(facts, indent=2) if as_json else _describe_export(facts))


def _source(sources: tuple[str, ...], *, are_logarithms: bool) -> "Source":
    from pipeline.errors import SettingsError
    from storage.exchange.arrays import ArraySource

    first = Path(sources[0])
    if first.is_dir() or first.suffix in NUMPY:
        if len(sources) > 1 or first.suffix == ".npy":
            raise SettingsError(f"{first}: wanted one .npz, or one folder of .npy files")
        return ArraySource(first, are_logarithms=are_logarithms)
    from stages.acoustic.kaldi.posterior_source import ArchiveSource
    from stages.acoustic.kaldi.specifier import parse_to_read

    return ArchiveSource([parse_to_read(text) for text in sources], are_logarithms=are_logarithms)


def _facts(store: Path, found: "Survey", plan: "Import", done: "TakenIn | None") -> dict[str, Any]:
    frames = max(1, plan.num_frames)
    return {
        "store": str(store),
        "digest": done.digest if done else None,
        "num_utterances": len(plan.utterances),
        "num_frames": plan.num_frames,
        "num_classes": found.num_classes,
        "kept": plan.about.kept,
        "is_dense": found.is_dense,
        "mean_mass_outside_pairs": _outside(found, plan),
        "mean_mass_beyond_k": done.dropped_mass / frames if done else None,
        "frames_with_fewer_pairs": done.filled_frames if done else None,
        "largest_error_nats": done.largest_error if done else None,
    }


def _outside(found: "Survey", plan: "Import") -> float | None:
    """What pairs leave to 1, on average of all frames."""
    if found.is_dense:
        return None
    return 0.0 if plan.normalise else max(0.0, 1 - found.mass / max(1, plan.num_frames))


def _describe(facts: dict[str, Any]) -> str:
    from storage.exchange.compare import BOUND_NATS

    form = "matrices" if facts["is_dense"] else "pairs"
    frames, utterances = facts["num_frames"], facts["num_utterances"]
    head = f"{facts['store']}: {frames:,} frames of {utterances:,} utterances, "
    lines = [f"{head}{facts['num_classes']:,} classes, K={facts['kept']}, from {form}"]
    if facts["digest"] is None:
        return "\n".join([*lines, "the source is sound; not made: this is a dry run"])
    error, beyond = facts["largest_error_nats"], facts["mean_mass_beyond_k"]
    lines += [
        f"  compared with the source: same classes, ln p {error:.4f} off (8 bits: {BOUND_NATS})",
        f"  lost: ranks beyond K, {beyond:.3%} of the mass, are part of the tail",
    ]
    if not facts["is_dense"]:
        outside, filled = facts["mean_mass_outside_pairs"], facts["frames_with_fewer_pairs"]
        lines += [
            f"  assumed: what pairs leave to 1, {outside:.3%} on average, is the tail",
            f"  filled: {filled:,} frames with fewer than K pairs, by other classes at p = e^-16",
        ]
    return "\n".join([*lines, f"sealed: {facts['digest']}"])


def _describe_export(facts: dict[str, Any]) -> str:
    frames, utterances = facts["num_frames"], facts["num_utterances"]
    head = f"{facts['archive']}: {frames:,} frames of {utterances:,} utterances, k={facts['k']}"
    lines = [
        f"{head}, {facts['num_bytes']:,} bytes; read again and compared",
        "  probabilities are the store's, of 8 bits: ln p at most 0.063 off",
    ]
    if facts["is_dense"]:
        return "\n".join(
            [*lines, "  the tail is spread evenly over all other classes; frames sum to one"]
        )
    return "\n".join([*lines, "  not in the archive: the mass outside the k ranks"])
