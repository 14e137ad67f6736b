"""sweep: a grid of settings x seeds -> students, each trained and evaluated once, one table.

A student of a sweep is made as by `essence student`: what is fresh is not trained again, and
`essence report` shows it next to all others. The teacher's stores are read, never made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline import flow
from pipeline.errors import in_words
from pipeline.evaluation import evaluate_one
from pipeline.job import Job
from pipeline.settings.fit import refuse_misfits
from pipeline.side_by_side import make_side_by_side
from pipeline.sweep.grid import SweepGrid
from pipeline.sweep.plan import plan_sweep, repeat_command
from pipeline.systems import students_of
from pipeline.trunk import shortest_first
from stages.acoustic.models.model_file import read_model_about
from stages.contract.results import SystemResult
from stages.student.settings import StudentSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One student: why it failed, or its errors; `result` is None if it was not evaluated."""

    student: StudentSettings
    name: str
    repeat: str  # the command that trains it alone
    directory: str
    failure: str = ""
    dev_frame_error: float | None = None
    result: SystemResult | None = None


def sweep(job: Job, grid: SweepGrid, *, num_jobs: int, evaluate: bool) -> list[Outcome]:
    """Train what is not fresh, `num_jobs` at a time, and evaluate. A failure does not stop others.

    Raises:
        SettingsError: when the teacher keeps too few ranks or lacks a temperature, or the device
            does not exist.
        NotMadeYet: when the corpus, the teacher's stores or the ensemble's hard labels are missing.
    """
    students = plan_sweep(job, grid)
    refuse_misfits(job.settings, students)
    job.need(job.recipes.corpus)
    if any(student.hard_weight < 1 and student.store is None for student in students):
        job.need(job.recipes.teacher)
    if not all(student.labels.are_given for student in students):
        job.need(job.recipes.labels)
    job.progress.note(f"sweep: {len(students)} students on {job.device}")
    if num_jobs == 1:
        failures = _train_in_turn(job, students)
    else:
        failures = _train_side_by_side(job, students, num_jobs=num_jobs)
    results = {}
    if evaluate:
        made = [student for student in students if student not in failures]
        results = _evaluate_each(job, made, failures)
    return [_outcome(job, student, failures, results) for student in students]


def _train_in_turn(job: Job, students: Sequence[StudentSettings]) -> dict[StudentSettings, str]:
    failures = {}
    for number, student in enumerate(shortest_first(students), start=1):
        job.progress.note(f"sweep: student {number} of {len(students)}: {student.name}")
        try:
            flow.student(job, student)
        except Exception as cause:  # noqa: BLE001  the others are trained
            failures[student] = in_words(cause)
            job.progress.note(f"student {student.name} failed: {failures[student]}")
    return failures


def _train_side_by_side(
    job: Job, students: Sequence[StudentSettings], *, num_jobs: int
) -> dict[StudentSettings, str]:
    models = {flow.student_model(job, student): student for student in shortest_first(students)}
    waiting = [model for model in models if not job.is_fresh(model.recipe)]
    failures = make_side_by_side(job, waiting, num_jobs=num_jobs)
    return {models[model]: why for model, why in failures.items()}


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
    recipe = job.recipes.student(student)
    place = job.shelf.place(recipe)
    frame_error = None
    if job.shelf.is_fresh(recipe):
        frame_error = read_model_about(place).facts.get("dev_frame_error")
    return Outcome(
        student=student,
        name=student.name or "",
        repeat=repeat_command(student, job.settings.student),
        directory=str(place),
        failure=failures.get(student, ""),
        dev_frame_error=frame_error,
        result=results.get(student),
    )
