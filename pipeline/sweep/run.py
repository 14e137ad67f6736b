"""sweep: a grid of settings x seeds -> students, each trained and evaluated once, one table.

A student of a sweep is a student as any other: what is here already is not trained again, and
`essence report` shows those of a sweep beside the rest. The teacher is never touched.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from pipeline import flow
from pipeline.errors import SettingsError, in_words
from pipeline.evaluation import evaluate_one
from pipeline.job import Job
from pipeline.settings.fit import refuse_misfits
from pipeline.settings.tree import with_changes
from pipeline.sweep.grid import SweepGrid
from pipeline.sweep.processes import train_side_by_side
from pipeline.systems import differences, student_name, students_of
from stages.acoustic.models.model_file import read_model_about
from stages.contract.results import SystemResult
from stages.student.settings import StudentSettings

NAMED = {"k", "hard_weight", "tail", "temperature", "training.seed"}  # columns of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one student: a failure, or its errors; words only where it was evaluated."""

    student: StudentSettings
    name: str
    other: str  # what else is unlike the student of the settings
    repeat: str  # the command that trains it alone
    directory: str
    failure: str = ""
    dev_frame_error: float | None = None
    result: SystemResult | None = None


def sweep(job: Job, grid: SweepGrid, *, num_jobs: int, evaluate: bool) -> list[Outcome]:
    """Train what is not fresh, `num_jobs` at a time, and evaluate. A failure stops no other.

    Raises:
        SettingsError: where the teacher keeps too few ranks, or lacks a temperature, or this
            machine the device.
        NotMadeYet: where the corpus or the teacher's stores are not here.
    """
    students = plan_sweep(job, grid)
    refuse_misfits(job.settings, students)
    job.need(job.recipes.corpus)
    if any(student.hard_weight < 1 and student.store is None for student in students):
        job.need(job.recipes.teacher)
    job.progress.note(f"sweep: {len(students)} students on {job.device}")
    if num_jobs == 1:
        failures = _train_in_turn(job, students)
    else:
        failures = train_side_by_side(job, students, num_jobs=num_jobs)
    results = {}
    if evaluate:
        made = [student for student in students if student not in failures]
        results = _evaluate_each(job, made, failures)
    return [_outcome(job, student, failures, results) for student in students]


def plan_sweep(job: Job, grid: SweepGrid) -> tuple[StudentSettings, ...]:
    """The students of a grid, each once: what means the same student has the same recipe."""
    default = job.settings.student.model_dump(mode="json")
    planned: dict[str, StudentSettings] = {}
    for setting in _settings_of(job, grid):
        first_seed = setting.training.seed
        for seed in range(first_seed, first_seed + grid.num_seeds):
            student = _changed(setting, {"training": {"seed": seed}})
            recipe = job.recipes.student(student)
            name = student_name(recipe.settings, default)
            planned.setdefault(recipe.fingerprint, student.model_copy(update={"name": name}))
    return tuple(planned.values())


def _settings_of(job: Job, grid: SweepGrid) -> Iterator[StudentSettings]:
    """What is trained with several seeds each."""
    for change in grid.changes():
        yield _changed(job.settings.student, change)
    if grid.with_compared:
        yield from job.settings.students[1:]


def _changed(student: StudentSettings, change: dict[str, Any]) -> StudentSettings:
    if change.get("hard_weight", 1) < 1:  # smoothed labels are for students without a teacher
        change = {**change, "label_smoothing": 0.0}
    try:
        return with_changes(student, change)
    except ValidationError as error:
        message = f"a student of the sweep, {change}: {error.errors()[0]['msg']}"
        raise SettingsError(message) from error


def repeat_command(student: StudentSettings, default: StudentSettings) -> str:
    """The command that trains one student of a sweep alone, where `default` is the settings'."""
    changes = [f"student.{key}={_as_yaml(value)}" for key, value in _unlike(student, default)]
    return shlex.join(["essence", "student", *(w for change in changes for w in ("--set", change))])


def _as_yaml(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _unlike(student: StudentSettings, default: StudentSettings) -> list[tuple[str, Any]]:
    found = student.model_dump(mode="json", exclude={"name"})
    return list(differences(found, default.model_dump(mode="json")))


def _train_in_turn(job: Job, students: Sequence[StudentSettings]) -> dict[StudentSettings, str]:
    failures = {}
    for number, student in enumerate(students, start=1):
        job.progress.note(f"sweep: student {number} of {len(students)}: {student.name}")
        try:
            flow.student(job, student)
        except Exception as cause:  # noqa: BLE001  whatever it is, the others are trained
            failures[student] = in_words(cause)
            job.progress.note(f"student {student.name} failed: {failures[student]}")
    return failures


def _evaluate_each(
    job: Job, students: Iterable[StudentSettings], failures: dict[StudentSettings, str]
) -> dict[StudentSettings, SystemResult]:
    results: dict[StudentSettings, SystemResult] = {}
    systems = {system.fingerprint: system for system in students_of(job)}
    for student in students:
        try:
            found = evaluate_one(job, systems[job.recipes.student(student).fingerprint])
        except Exception as cause:  # noqa: BLE001  as above
            failures[student] = f"evaluation: {in_words(cause)}"
        else:
            results[student] = found
    return results


def _outcome(
    job: Job,
    student: StudentSettings,
    failures: dict[StudentSettings, str],
    results: dict[StudentSettings, SystemResult],
) -> Outcome:
    recipe, default = job.recipes.student(student), job.settings.student
    place = job.shelf.place(recipe)
    frame_error = None
    if job.shelf.is_fresh(recipe):
        frame_error = read_model_about(place).facts.get("dev_frame_error")
    return Outcome(
        student=student,
        name=student.name or "",
        other=" ".join(f"{key}={x}" for key, x in _unlike(student, default) if key not in NAMED),
        repeat=repeat_command(student, default),
        directory=str(place),
        failure=failures.get(student, ""),
        dev_frame_error=frame_error,
        result=results.get(student),
    )
