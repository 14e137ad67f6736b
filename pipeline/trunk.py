"""Trunk: students of several lengths that take the same steps until their rates decay.

    trunk-<a>/  ->  trunk-<b>/  ->  trunk-<c>/      each goes on from the longest that is here
        |               |               |
    student 3       student 6       student 12      epochs

A trunk is the state of a training run, and nothing else needs it: when it is removed, its students
stay fresh, and another one takes its steps again.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from pipeline.hard_labels import train_labels
from pipeline.job import Job
from pipeline.soft_labels import train_store
from stages.student.settings import StudentSettings
from stages.student.train import train_student_trunk


def made_trunk(job: Job, student: StudentSettings) -> Path | None:
    """The trunk that a student branches off, made if it is not here; None for other schedules."""
    if student.training.schedule != "trunk":
        return None
    recipe = job.recipes.trunk(student)
    return job.make(
        recipe,
        lambda: partial(
            train_student_trunk,
            student,
            corpus_directory=job.need(job.recipes.corpus),
            store=train_store(job, student),
            hard_labels=train_labels(job, student),
            device=job.device,
            progress=job.progress,
            ranks=job.ranks,
            shorter=_shorter(job, student),
        ),
    )


def _shorter(job: Job, student: StudentSettings) -> Path | None:
    """The trunk to go on from, the same on every rank."""

    def found() -> bytes:
        recipe = job.recipes.shorter_trunk(job.recipes.trunk(student))
        if recipe is None:
            return b""
        job.shelf.check(job.shelf.place(recipe))
        return recipe.name.encode()

    name = job.ranks.first(found).decode()
    return job.shelf.directory / name if name else None


def shortest_first(students: Iterable[StudentSettings]) -> list[StudentSettings]:
    """The same students, those on a trunk by their length: a longer one goes on from a shorter."""

    def length(student: StudentSettings) -> int:
        return student.training.epochs if student.training.schedule == "trunk" else 0

    return sorted(students, key=length)
