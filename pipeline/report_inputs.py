"""What the report is made of: results, where the pictures' data lie, what made each number."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.freshness import RECORD, Recipe
from pipeline.job import Job
from stages.report.inputs import Made, ReportInputs
from stages.speech.results import CorpusSummary, System, SystemResult, TeacherSummary
from storage.fingerprint import SHORT


def collect(job: Job, results: Sequence[SystemResult]) -> ReportInputs:
    """Everything the page shows. What was removed since (ensemble, stores) is left out."""
    corpus = job.need(job.recipes.corpus)
    teacher = job.shelf.place(job.recipes.teacher)
    is_labelled = job.shelf.is_fresh(job.recipes.teacher)
    store = teacher / "dev.zarr"
    return ReportInputs(
        results=tuple(results),
        corpus=CorpusSummary.model_validate_json((corpus / "summary.json").read_bytes()),
        corpus_directory=corpus,
        teacher=_teacher_summary(teacher) if is_labelled else None,
        store=store if is_labelled and store.is_dir() else None,
        histories=dict(_histories(results)),
        made=tuple(_all_made(job, results)),
    )


def _teacher_summary(teacher: Path) -> TeacherSummary:
    return TeacherSummary.model_validate_json((teacher / "summary.json").read_bytes())


def _histories(results: Sequence[SystemResult]) -> Iterator[tuple[str, Path]]:
    for system in (result.system for result in results):
        metrics = system.model_directories[0] / "metrics.jsonl"
        if system.kind != "ensemble" and metrics.is_file():
            yield system.name, metrics


def _all_made(job: Job, results: Sequence[SystemResult]) -> Iterator[Made]:
    yield from _made(job, job.recipes.corpus, "corpus")
    yield from _made(job, job.recipes.teacher, "teacher")
    for system in (result.system for result in results):
        yield from _made_model(system)
        yield from _made(job, job.recipes.evaluation(system), f"evaluation of {system.name}")


def _made(job: Job, recipe: Recipe, name: str) -> Iterator[Made]:
    if job.shelf.is_fresh(recipe):
        yield _read_record(job.shelf.place(recipe) / RECORD, name)


def _made_model(system: System) -> Iterator[Made]:
    record = system.model_directories[0] / RECORD
    if system.kind != "ensemble" and record.is_file():
        yield _read_record(record, f"{system.kind} {system.name}")


def _read_record(path: Path, name: str) -> Made:
    made = json.loads(path.read_text(encoding="utf-8"))
    shown = {key: made[key] for key in ("program", "settings", "inputs")}
    shown["inputs"] = {key: value[:SHORT] for key, value in made["inputs"].items()}
    return Made(
        name=name,
        fingerprint=made["fingerprint"],
        settings=json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False),
    )
