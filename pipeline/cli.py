"""essence: the command line. One command a stage: it parses, calls once, prints once.

Results go to stdout; progress, notes and errors to stderr. Exit 0 done, 1 failed, 2 misused.
The stages are imported inside the commands: `essence --help` must not wait for torch.
"""

import errno
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.cache.commands import cache
from pipeline.errors import SettingsError
from pipeline.sweep.grid import SweepGrid, with_grid
from stages.contract.version import VERSION
from stages.training.launched import is_one_of_many, leave, own_number
from storage.errors import EssenceError

if TYPE_CHECKING:
    from pipeline.job import Job

INTERRUPTED = 130  # 128 + SIGINT, as shells say it
WORKERS = ("number", "scheduler", "insecure")  # options that make a Workers
UNDER_TORCHRUN = ("student", "ensemble")


class Door(click.Group):
    """Turns what a person must mend into one line on stderr and an exit code."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command that is asked for; several processes of torchrun may train, nothing else."""
        if is_one_of_many() and args[0] not in UNDER_TORCHRUN:
            raise SettingsError(
                f"torchrun started several processes of 'essence {args[0]}': "
                "only student and ensemble run under torchrun"
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; on an error of ours say it and exit."""
        try:
            result = super().invoke(ctx)
            return leave(0) if is_one_of_many() else result
        except SettingsError as error:
            _fail(str(error), code=2)
        except EssenceError as error:
            _fail(str(error), code=1)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            hint = ": make room, and the same command goes on" if full else ""
            _fail(f"the system says: {error}{hint}", code=1)
        except MemoryError as error:
            _fail(f"memory is short ({error}): make models, batches or beams smaller", code=1)
        except KeyboardInterrupt:
            _fail("stopped; the same command goes on where this one was", code=INTERRUPTED)


def _fail(message: str, *, code: int) -> None:
    if own_number() == 0:  # under torchrun, the first of the ranks knows what failed on another
        click.echo(f"essence: {message}", err=True)
    leave(code)


def _with_job(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all have, and a Job made of them."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Settings file; default: pipeline.yaml here, or the defaults.",
    )
    @click.option(
        "--set",
        "changes",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one setting, as in --set student.k=4. May be repeated.",
    )
    @click.option("--device", help="cpu, cuda or cuda:N; short for --set device=...")
    @functools.wraps(command)
    def wrapped(
        config: Path | None, changes: tuple[str, ...], device: str | None, **options: Any
    ) -> None:
        # Threads that wait must sleep: spinning, two of them on a busy machine train at a tenth
        # of the speed. OpenMP reads this when torch is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        # Here, not at the top: pydantic, torch and the stages take seconds to load.
        from pipeline.cluster.workers import Workers
        from pipeline.job import Job
        from pipeline.settings.read import read_settings
        from pipeline.terminal.progress import TerminalProgress
        from stages.acoustic.models.own_architecture import allow_factories
        from stages.contract.progress import SilentProgress
        from stages.training.ranks import joined_ranks

        if device:
            changes = (*changes, f"device={device}")
        workers = Workers(**{name: options.pop(name) for name in WORKERS if name in options})
        with joined_ranks() as ranks:
            progress = TerminalProgress() if ranks.is_first else SilentProgress()
            settings = read_settings(config, changes)
            allow_factories(settings.own_architectures)
            command(Job(settings, progress, workers, ranks), **options)

    return wrapped


def _say(job: "Job", directory: Path) -> None:
    """One line on stdout, of however many ranks."""
    if job.ranks.is_first:
        click.echo(directory)


def _with_workers(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say who labels: this process, where none is given."""
    number = click.option(
        "--workers",
        "number",
        type=click.IntRange(min=1),
        help="Label with so many processes of this machine.",
    )
    scheduler = click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Label with the workers of a Dask scheduler: tls://HOST:8786, tcp://127.0.0.1:8786.",
    )
    insecure = click.option(
        "--insecure", is_flag=True, help="Allow a scheduler on another machine without TLS."
    )
    return number(scheduler(insecure(command)))


@click.group(cls=Door, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="essence-kd", message="%(prog)s %(version)s")
def main() -> None:
    """Distil an ensemble of acoustic models into one, offline.

    \b
    corpus -> ensemble -> teacher -> student -> evaluate -> report

    The ensemble runs once over the corpus; for every frame the K most probable classes are kept
    in a small store. Students train from that store and the correct labels, with any k <= K, as
    often as you like, and never touch the teacher again.

    \b
    Begin:                  essence run
    Another k:              essence run --set student.k=4
    Your Kaldi directory:   essence run --set corpus.source=kaldi --set corpus.path=DIR
    """


@main.command()
@_with_workers
@_with_job
def run(job: "Job") -> None:
    """Do all that is not fresh, and print the table.

    Reads the settings, writes below `work_dir`. Stopped by Ctrl-C, it goes on at the next call.

    \b
    Example: essence run --set student.k=4
    Example: essence run --workers 2        (the teacher's shards, in two processes)
    """
    from pipeline import flow
    from pipeline.terminal.tables import results_table

    results = flow.run(job)
    click.echo(results_table(results, job.settings.report))
    click.echo(f"report: {job.settings.work_dir / 'report' / 'index.html'}")


@main.command()
@_with_job
def corpus(job: "Job") -> None:
    """source -> corpus: features, hard labels, transcripts, lang.

    Reads a Kaldi directory, or synthesises speech. Writes work/corpus-*/: train.h5, dev.h5,
    test.h5, lang/ and summary.json. Speech that nobody transcribed joins train from the folders
    corpus.kaldi.unlabelled; corpus.kaldi.labelled_share tries that out (docs/untranscribed.md), and
    train-labelled.txt lists what has hard labels then.

    \b
    Example: essence corpus --set corpus.spoken.hours=0.2
    Example: essence corpus --set corpus.spoken.labelled_share=0.3
    """
    from pipeline import flow

    click.echo(flow.corpus(job))


@main.command()
@_with_job
def ensemble(job: "Job") -> None:
    """corpus -> members: one acoustic model each, on hard labels.

    Reads work/corpus-*/. Writes work/member-*/: model.safetensors, model.json, metrics.jsonl.
    Members that are there stay when another is added. Of a member with `posteriors: DIR`, a
    model of somebody else's, it checks the archives there and writes member.json.

    \b
    Example: essence ensemble --device cuda
    """
    from pipeline import flow

    for directory in flow.ensemble(job):
        _say(job, directory)


@main.command()
@_with_workers
@_with_job
def teacher(job: "Job") -> None:
    """members -> soft labels: the ensemble runs once over the corpus.

    Reads work/corpus-*/ and work/member-*/. Writes work/teacher-*/: a soft-label store for every
    split (train.zarr, dev.zarr) and summary.json.

    One shard after the other in this process; with --workers or --scheduler, one shard a task of a
    Dask cluster, to the same bytes (docs/cluster.md). Ctrl-C, a killed worker or a lost scheduler
    cost the shards under way: the same command makes what is missing, here or on any cluster.

    \b
    Example: essence teacher --set teacher.kept=64
    Example: essence teacher --workers 2
    Example: essence teacher --scheduler tls://head:8786 --device cuda
    """
    from pipeline import flow

    click.echo(flow.teacher(job))


@main.command()
@_with_job
def student(job: "Job") -> None:
    """soft labels and hard labels -> one small model.

    Reads work/corpus-*/ and work/teacher-*/, never the ensemble. Writes work/student-*/:
    model.safetensors, model.json, metrics.jsonl. hard_weight=1 needs no teacher.

    \b
    Example: essence student --set student.k=4 --set student.tail=bucket
    Several GPUs: torchrun --nproc-per-node=4 -m essence student --device cuda
    """
    from pipeline import flow

    _say(job, flow.student(job, job.settings.student))


@main.command()
@_with_job
@with_grid
@click.option(
    "--jobs",
    "num_jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Train N students side by side, each in a process with one thread.",
)
@click.option("--no-evaluate", is_flag=True, help="Train only: no word error rates.")
@click.option("--json", "form", flag_value="json", help="Print JSON instead.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV instead, a line a student.")
def sweep(
    job: "Job", *, grid: SweepGrid, num_jobs: int, no_evaluate: bool, form: str | None
) -> None:
    """Many students from one store: a grid of settings, several seeds, one table.

    Reads work/corpus-*/ and work/teacher-*/, never the ensemble. Writes work/student-*/ and
    work/evaluation-*/, as `student` and `evaluate` do; what is there is not made again. A student
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
        _fail(failed, code=1)


@main.command()
@_with_job
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
@_with_job
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
@_with_job
def status(job: "Job") -> None:
    """What is fresh, what is begun, what is to do. Changes nothing.

    \b
    Example: essence status --set student.k=4
    """
    from pipeline.terminal.tables import status_table

    click.echo(status_table(job))


main.add_command(cache)
