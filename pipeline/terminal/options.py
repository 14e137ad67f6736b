"""Options that several commands share, and the Job that is made of them."""

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pipeline.job import Job

WORKERS = ("number", "scheduler", "insecure")  # options that make a Workers


def with_sources(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --config, --set and --device, which is one more change: config, changes."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE|EXAMPLE",
        help="Settings file, or a shipped example; default: pipeline.yaml here, or the defaults.",
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
        changes = (*changes, f"device={device}") if device else changes
        command(config=config, changes=changes, **options)

    return wrapped


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the same options; it is called with the settings and their sources."""

    @with_sources
    @functools.wraps(command)
    def wrapped(config: Path | None, changes: tuple[str, ...], **options: Any) -> None:
        # Here, not at the top: `essence --help` needs no settings.
        from pipeline.settings.read import checked
        from pipeline.settings.sources import read_sources

        sources = read_sources(config, changes)
        command(checked(sources), sources, **options)

    return wrapped


def with_job(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --config, --set and --device; it is called with a Job made of them."""

    @with_sources
    @functools.wraps(command)
    def wrapped(config: Path | None, changes: tuple[str, ...], **options: Any) -> None:
        workers = {name: options.pop(name) for name in WORKERS if name in options}
        num_jobs = options.pop("jobs", 1)
        with opened_job(config, changes, num_jobs=num_jobs, **workers) as job:
            command(job, **options)

    return wrapped


@contextmanager
def opened_job(
    config: Path | None, changes: tuple[str, ...], *, num_jobs: int | None = 1, **of_workers: Any
) -> Iterator["Job"]:
    """A Job made of the options of `with_sources`, `with_workers` and `with_jobs`."""
    # Threads that wait must sleep: spinning, two of them on a busy machine train at a tenth
    # of the speed. OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Here, not at the top: `essence --help` needs no settings.
    from pipeline.cluster.options import Workers
    from pipeline.job import Job
    from pipeline.settings.read import read_settings
    from pipeline.terminal.progress import TerminalProgress
    from stages.acoustic.models.permission import allow_factories
    from stages.contract.progress import SilentProgress
    from stages.training.launched import joined_ranks

    workers = Workers(**of_workers)
    with joined_ranks() as ranks:
        progress = TerminalProgress() if ranks.is_first else SilentProgress()
        settings = read_settings(config, changes)
        allow_factories(settings.own_architectures)
        if ranks.size > 1:
            num_jobs = of_ranks(num_jobs)
        job = Job(settings, progress, workers, ranks, num_jobs)
        if not workers.scheduler:  # a cluster's workers have devices of their own
            job.check_device()
        yield job


def of_ranks(num_jobs: int | None) -> int:
    """The number of models side by side under torchrun, whose ranks train one model together."""
    from pipeline.errors import SettingsError

    if num_jobs not in (None, 1):
        raise SettingsError(f"--jobs {num_jobs}: under torchrun one model is trained at a time")
    return 1


def with_jobs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the number of models that are trained side by side."""
    return click.option(
        "--jobs",
        type=click.IntRange(min=1),
        metavar="N",
        help="Train N models side by side, each in a process with `threads` threads (default: one "
        "for each processor; on a GPU 1). The number changes no result.",
    )(command)


def with_workers(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of the processes that label; without them, this one does."""
    number = click.option(
        "--workers",
        "number",
        type=click.IntRange(min=1),
        metavar="N",
        help="Label with N processes of this machine.",
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
