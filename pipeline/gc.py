"""essence gc: remove artefacts that no current setting needs.

Slow imports are inside the command, as in cli.py.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.terminal.options import with_job

if TYPE_CHECKING:
    from pipeline.job import Job
    from pipeline.shelf.record import Recipe


@click.command()
@with_job
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and do nothing.")
@click.option("--yes", is_flag=True, help="Remove without a question.")
@click.option(
    "--keep",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Another settings file whose artefacts are kept, too. May be repeated.",
)
def gc(job: "Job", *, dry_run: bool, yes: bool, keep: tuple[Path, ...]) -> None:
    """Remove artefacts that the settings do not need. Lists them, and asks first.

    Needed is what `run` would make or find with these settings, and the page that work/report links
    to. Students of a sweep whose settings are not in the file are listed: keep them by --keep, or
    by an entry of `compare`. What is in use, and what this program did not make, is never removed.

    \b
    Example: essence gc --dry-run
    """
    from pipeline.shelf.garbage import find_unneeded, names_in, refuse_in_use, remove
    from pipeline.terminal.columns import aligned, in_bytes

    jobs = [job, *(_with_settings(job, path) for path in keep)]
    needed = [recipe for each in jobs for recipe in _needed(each)]
    named = set().union(*(names_in(each.settings.model_dump_json()) for each in jobs))
    work = job.settings.work_dir
    unneeded = find_unneeded(work, needed, kept=named | _linked(work))
    if not unneeded:
        click.echo("nothing to remove: the settings need all artefacts that are here")
        return
    rows = [(each.place.name, in_bytes(each.num_bytes), each.why) for each in unneeded]
    click.echo(aligned([("name", "size", "why"), *rows]))
    total = in_bytes(sum(each.num_bytes for each in unneeded))
    click.echo(f"{len(unneeded)} directories, {total}")
    if dry_run:
        return
    refuse_in_use(work, unneeded)
    if yes or click.confirm(f"Remove them from {work}?"):
        for each in remove(work, unneeded):
            click.echo(f"removed {each.place}")


def _with_settings(job: "Job", config: Path) -> "Job":
    from dataclasses import replace

    from pipeline.settings.read import read_settings

    settings = read_settings(config).model_copy(update={"work_dir": job.settings.work_dir})
    return replace(job, settings=settings)


def _needed(job: "Job") -> "Iterator[Recipe]":
    """All that these settings stand for, made or not."""
    from pipeline.systems import ensemble_of, fully_transcribed_of, members_of, students_of

    recipes = job.recipes
    wanted = {recipe.fingerprint for recipe in recipes.students}
    systems = [
        *members_of(job),
        ensemble_of(job),
        *(system for system in students_of(job) if system.fingerprint in wanted),
    ]
    yield from (recipes.corpus, recipes.graph, *recipes.members, recipes.teacher, recipes.labels)
    yield from recipes.students
    for student in job.settings.students:
        if student.training.schedule == "trunk":
            yield recipes.trunk(student)
    if recipes.full_corpus is not None:
        yield recipes.full_corpus
        yield from recipes.fully_transcribed()
    for system in (*systems, *fully_transcribed_of(job)):
        yield recipes.evaluation(system)
        yield recipes.frames(system)
    yield recipes.report(systems)
    if job.settings.corpus.source == "spoken":
        yield recipes.audio
    for export in job.shelf.found("export"):
        if export.inputs["student"] in wanted:
            yield export


def _linked(work: Path) -> set[str]:
    """The artefact that work/report links to."""
    link = work / "report"
    return {link.readlink().name} if link.is_symlink() else set()
