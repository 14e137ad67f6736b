"""essence: the command line. One command a stage: it parses, calls once, prints once.

Results go to stdout; progress, notes and errors to stderr. Exit 0 done, 1 failed, 2 misused.
The stages are imported inside the commands: `essence --help` must not wait for torch.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cache.commands import DAMAGED, cache
from pipeline.deploy_commands import export, transcribe
from pipeline.gc import gc
from pipeline.settings_commands import config, init
from pipeline.sweep.grid import SweepGrid, with_grid
from pipeline.terminal.exit import ExitGroup, fail
from pipeline.terminal.options import with_job, with_jobs, with_workers
from pipeline.verify import verify
from stages.contract.version import VERSION

if TYPE_CHECKING:
    from pipeline.job import Job


@click.group(cls=ExitGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="essence-kd", message="%(prog)s %(version)s")
def main() -> None:
    """Distil an ensemble of acoustic models into one, offline.

    \b
    corpus -> ensemble -> teacher -> student -> evaluate -> report

    The ensemble runs once over the corpus; for every frame the K most probable classes are kept
    in a small store. Students train from that store and the hard labels, with any k <= K, any
    number of times, without the ensemble.

    \b
    A first look:           essence run --config tiny
    Begin:                  essence init, then essence run
    Another k:              essence run --set student.k=4
    Your Kaldi directory:   essence run --set corpus.source=kaldi --set corpus.path=DIR
    Your recordings:        docs/audio.md
    """


@main.command()
@with_workers
@with_jobs
@with_job
def run(job: "Job") -> None:
    """Make everything that is not fresh, and print the table.

    Reads the settings, writes below `work_dir`. After Ctrl-C the same command goes on.

    \b
    Example: essence run --set student.k=4
    Example: essence run --jobs 1           (one model after another)
    Example: essence run --workers 2        (the teacher's shards, in two processes)
    """
    from pipeline import flow
    from pipeline.terminal.tables import results_table

    _note_new(job)
    results = flow.run(job)
    click.echo(results_table(results, job.settings.report))
    click.echo(f"report: {job.settings.work_dir / 'report' / 'index.html'}")


@main.command()
@with_job
@click.option(
    "--keep-audio", is_flag=True, help="Also write the speech of dev and test as WAV files."
)
def corpus(job: "Job", *, keep_audio: bool) -> None:
    """source -> corpus: features, hard labels, transcripts, lang.

    Reads a Kaldi directory, or audio with its transcripts (a table, a Kaldi directory with wav.scp,
    a Lhotse manifest, a Hugging Face dataset: docs/audio.md), or synthesises speech. Writes
    work/corpus-*/: train.h5, dev.h5, test.h5, lang/ and summary.json. Untranscribed speech joins
    train from the folders corpus.kaldi.unlabelled. labelled_share withholds hard labels to try that
    out (docs/untranscribed.md); train-labelled.txt lists the utterances that keep theirs.

    --keep-audio writes the recordings of dev and test of the synthesised speech to work/audio-*/,
    with a table of each for `essence transcribe` (docs/deploy.md).

    \b
    Example: essence corpus --set corpus.spoken.hours=0.2
    Example: essence corpus --keep-audio
    Example: essence corpus --set corpus.spoken.labelled_share=0.3
    Example: essence corpus --set corpus.source=audio --set corpus.path=speech.tsv
             --set corpus.audio.alignments=[ali] --set corpus.audio.lang=lang
    """
    from pipeline import flow

    click.echo(flow.corpus(job))
    if keep_audio:
        click.echo(flow.audio(job))


@main.command()
@with_jobs
@with_job
def ensemble(job: "Job") -> None:
    """corpus -> members: one acoustic model each, on hard labels.

    Reads work/corpus-*/. Writes work/member-*/: model.safetensors, model.json, metrics.jsonl.
    Members that are fresh stay when another is added. Models trained elsewhere: an ONNX file,
    TorchScript, a .pt2 program or a Python factory is tried on the corpus and copied; of a member
    with `posteriors: DIR` the archives in DIR are checked. See docs/own-models.md.

    \b
    Example: essence ensemble --device cuda
    Example: essence ensemble --jobs 4
    """
    from pipeline import flow

    for directory in flow.ensemble(job):
        _print_once(job, directory)


@main.command()
@with_workers
@with_job
def teacher(job: "Job") -> None:
    """members -> soft labels: the ensemble runs once over the corpus.

    Reads work/corpus-*/ and work/member-*/. Writes work/teacher-*/: a soft-label store for every
    split (train.zarr, dev.zarr) and summary.json.

    One shard after another in this process; with --workers or --scheduler each shard is a task of
    a Dask cluster, with the same bytes (docs/cluster.md). After Ctrl-C, a killed worker or a lost
    scheduler the same command makes the missing shards, here or on any cluster.

    \b
    Example: essence teacher --set teacher.kept=64
    Example: essence teacher --workers 2
    Example: essence teacher --scheduler tls://head:8786 --device cuda
    """
    from pipeline import flow

    click.echo(flow.teacher(job))


@main.command()
@with_job
def labels(job: "Job") -> None:
    """members -> hard labels of train: the ensemble's best paths.

    Reads work/corpus-*/ and work/member-*/, and decodes dev to choose the acoustic scale. Writes
    work/labels-*/: classes.npy, utterances.json. Transcribed utterances are aligned along their
    transcripts, untranscribed ones are decoded. Students with student.labels.transcribed=realigned
    or student.labels.untranscribed=decoded train on them (docs/rivals.md). After Ctrl-C the same
    command goes on.

    \b
    Example: essence labels
    """
    from pipeline import flow

    click.echo(flow.labels(job))


@main.command()
@with_job
def student(job: "Job") -> None:
    """soft labels and hard labels -> one small model.

    Reads work/corpus-*/ and work/teacher-*/, never the ensemble. Writes work/student-*/:
    model.safetensors, model.json, metrics.jsonl. hard_weight=1 needs no teacher.

    \b
    Example: essence student --set student.k=4 --set student.tail=bucket
    Several GPUs: torchrun --nproc-per-node=4 -m essence student --device cuda
    """
    from pipeline import flow

    _print_once(job, flow.student(job, job.settings.student))


@main.command()
@with_job
@with_grid
@click.option(
    "--jobs",
    "num_jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Train N students side by side, each in a process with `threads` threads.",
)
@click.option("--no-evaluate", is_flag=True, help="Train only: no word error rates.")
@click.option("--json", "form", flag_value="json", help="Print JSON instead.")
@click.option(
    "--csv", "form", flag_value="csv", help="Print CSV instead, one line for each student."
)
def sweep(
    job: "Job", *, grid: SweepGrid, num_jobs: int, no_evaluate: bool, form: str | None
) -> None:
    """Many students from one store: combinations of settings, several seeds, one table.

    Reads work/corpus-*/ and work/teacher-*/, never the ensemble. Writes work/student-*/ and
    work/evaluation-*/, as `student` and `evaluate` do; what is fresh is not made again. A student
    that fails does not stop the others: it is listed at the end, with exit code 1. Stopped by
    Ctrl-C, the same command goes on. Settings that no option names are those of the settings file.

    \b
    Example: essence sweep --k 1,2,4,8 --hard-weight 0.2,0.5 --seeds 3 --jobs 2
    Example: essence sweep --vary student.training.learning_rate=1e-3,3e-3
    All that the settings compare, for a claim: essence sweep --compare --seeds 5 --jobs 2
    """
    from pipeline.sweep.run import sweep as train_grid
    from pipeline.sweep.table import as_csv, as_json, as_table, failures

    outcomes = train_grid(job, grid, num_jobs=num_jobs, evaluate=not no_evaluate)
    click.echo({None: as_table, "json": as_json, "csv": as_csv}[form](outcomes))
    if failed := failures(outcomes):
        fail(failed, code=1)


@main.command()
@with_job
def evaluate(job: "Job") -> None:
    """every system -> frame error, cross-entropy, word error rate.

    Reads work/corpus-*/, the members and every student of this corpus. Writes
    work/evaluation-*/result.json. Scale and insertion penalty are chosen on dev.

    \b
    Example: essence evaluate
    """
    from pipeline import flow
    from pipeline.terminal.tables import results_table

    click.echo(results_table(flow.evaluate(job), job.settings.report))


@main.command()
@with_job
def report(job: "Job") -> None:
    """all results -> one HTML page.

    Reads what evaluate wrote (and evaluates what is missing). Writes work/report-*/, with
    work/report pointing to it.

    \b
    Example: essence report
    """
    from pipeline import flow

    click.echo(flow.report(job, flow.evaluate(job)))


@main.command()
@with_job
@click.option("--check", "is_thorough", is_flag=True, help="Compare all files with their digests.")
def status(job: "Job", *, is_thorough: bool) -> None:
    """List artefacts as fresh, begun, to do or damaged, with sizes. Changes nothing.

    An artefact is damaged if its record is missing or that of another one; with --check also if
    one of its files is missing or changed. What is inside corpus files and stores is compared by
    'essence verify'. If a corpus or a member would be made again, and one that is here differs in
    little, a line names the difference. With --check the exit code is 3 if something is damaged.

    \b
    Example: essence status --set student.k=4
    Example: essence status --check
    """
    from pipeline.terminal.status_table import status_table

    table, num_damaged = status_table(job, is_thorough=is_thorough)
    click.echo(table)
    _note_new(job)
    if is_thorough and num_damaged:
        sys.exit(DAMAGED)


def _note_new(job: "Job") -> None:
    """A line for a corpus or member that differs in little from one that is here: a slip?"""
    from pipeline.shelf.nearest import notes_of_new

    for note in notes_of_new(job.shelf, [job.recipes.corpus, *job.recipes.members]):
        job.progress.note(note)


def _print_once(job: "Job", directory: Path) -> None:
    """One line on stdout, also under torchrun."""
    if job.ranks.is_first:
        click.echo(directory)


main.add_command(cache)
main.add_command(config)
main.add_command(init)
main.add_command(export)
main.add_command(gc)
main.add_command(transcribe)
main.add_command(verify)
