"""What the report is made of: results, where the pictures' data lie, what made each number."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.contents import read_json
from pipeline.freshness import RECORD, Recipe, read_record
from pipeline.job import Job
from stages.report.inputs import Made, ReportInputs
from stages.speech.results import CorpusSummary, System, SystemResult, TeacherSummary
from storage.fingerprint import SHORT


def collect(job: Job, results: Sequence[SystemResult]) -> ReportInputs:
    """Everything the page shows. What was removed since (ensemble, stores) is left out."""
    corpus = job.need(job.recipes.corpus)
    teacher = job.shelf.place(job.recipes.teacher)
    is_labelled = job.shelf.is_fresh(job.recipes.teacher)
    for directory in {place for result in results for place in result.system.model_directories}:
        job.shelf.check(directory)
    if is_labelled:
        job.shelf.check(teacher)
    store = teacher / "dev.zarr"
    return ReportInputs(
        results=tuple(results),
        corpus=read_json(CorpusSummary, corpus / "summary.json"),
        corpus_directory=corpus,
        teacher=_teacher_summary(teacher) if is_labelled else None,
        store=store if is_labelled and store.is_dir() else None,
        histories=dict(_histories(results)),
        made=tuple(_all_made(job, results)),
    )


def _teacher_summary(teacher: Path) -> TeacherSummary:
    return read_json(TeacherSummary, teacher / "summary.json")


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
        yield _shown(job.shelf.place(recipe), name)


def _made_model(system: System) -> Iterator[Made]:
    directory = system.model_directories[0]
    if system.kind != "ensemble" and (directory / RECORD).is_file():
        yield _shown(directory, f"{system.kind} {system.name}")


def _shown(directory: Path, name: str) -> Made:
    made = read_record(directory)
    shown = {key: made[key] for key in ("program", "settings", "inputs")}
    shown["inputs"] = {key: value[:SHORT] for key, value in made["inputs"].items()}
    return Made(
        name=name,
        fingerprint=made["fingerprint"],
        settings=json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False),
    )
