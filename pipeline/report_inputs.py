"""results -> report inputs: results, paths of the pictures' data, records of the artefacts."""

import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.job import Job
from pipeline.shelf.contents import read_json
from pipeline.shelf.record import RECORD, Recipe, read_record
from stages.acoustic.models.onnx_model import ONNX_FILE, read_onnx_about
from stages.contract.results import CorpusSummary, System, SystemResult, TeacherSummary
from stages.contract.version import VERSION
from stages.deploy.folder import read_export_about
from stages.report.inputs import ExportedModel, Made, ReportInputs
from stages.report.statistics.bootstrap import Interval
from stages.report.statistics.groups import SystemGroup, group_results
from stages.teacher.summary import SUMMARY_FILE, complete_audit
from storage.files.fingerprint import SHORT


def collect(job: Job, results: Sequence[SystemResult]) -> ReportInputs:
    """Everything that the page shows, without artefacts that were removed (ensemble, stores)."""
    corpus = job.need(job.recipes.corpus)
    teacher = job.shelf.place(job.recipes.teacher)
    is_labelled = job.shelf.is_fresh(job.recipes.teacher)
    for directory in {place for result in results for place in result.system.model_directories}:
        if directory.exists():  # results stay when their models are removed
            job.shelf.check(directory)
    if is_labelled:
        job.shelf.check(teacher)
    store = teacher / "dev.zarr"
    return ReportInputs(
        results=tuple(results),
        corpus=read_json(CorpusSummary, corpus / "summary.json"),
        corpus_directory=corpus,
        teacher=_teacher_summary(teacher, corpus) if is_labelled else None,
        store=store if is_labelled and store.is_dir() else None,
        histories=dict(_histories(results)),
        made=tuple(_all_made(job, results)),
        exported=tuple(_exported(job, results)),
        program=_program(),
    )


def _teacher_summary(teacher: Path, corpus: Path) -> TeacherSummary:
    summary = read_json(TeacherSummary, teacher / SUMMARY_FILE)
    stores = (complete_audit(a, teacher=teacher, corpus_directory=corpus) for a in summary.stores)
    return summary.model_copy(update={"stores": tuple(stores)})


def _histories(results: Sequence[SystemResult]) -> Iterator[tuple[str, Path]]:
    for system in (result.system for result in results):
        metrics = system.model_directories[0] / "metrics.jsonl"
        if system.kind != "ensemble" and metrics.is_file():
            yield system.name, metrics


def _exported(job: Job, results: Sequence[SystemResult]) -> Iterator[ExportedModel]:
    exports = job.recipes.exports(result.system for result in results)
    for fingerprint, recipe in ((f, recipe) for f, found in exports.items() for recipe in found):
        directory = job.shelf.place(recipe)
        job.shelf.check(directory)
        rates = {each.split: each for each in read_export_about(directory).metrics}
        test = rates["test"].word_error_rate
        yield ExportedModel(
            student=fingerprint,
            precision=read_onnx_about(directory).precision,
            num_bytes=(directory / ONNX_FILE).stat().st_size,
            wer_dev=rates["dev"].word_error_rate.rate,
            wer_test=test.rate,
            interval=Interval(low=test.low, high=test.high),
        )


def _all_made(job: Job, results: Sequence[SystemResult]) -> Iterator[Made]:
    """Records of corpus, teacher, members, each group of students, and evaluation."""
    yield from _made(job, job.recipes.corpus, "corpus")
    yield from _made(job, job.recipes.teacher, "teacher")
    yield from _made(job, job.recipes.labels, "labels")
    for group in group_results(results):
        yield from _made_models(group)
    yield from _made_together(job, "evaluation", results, job.recipes.evaluation)
    yield from _made_together(job, "frames of dev", results, job.recipes.frames)


def _made(job: Job, recipe: Recipe, name: str) -> Iterator[Made]:
    if job.shelf.is_fresh(recipe):
        yield _shown(job.shelf.place(recipe), name)


def _made_models(group: SystemGroup) -> Iterator[Made]:
    """The record of the first seed; the others differ in the seed alone."""
    directory = group.first.system.model_directories[0]
    if group.role == "ensemble" or not (directory / RECORD).is_file():
        return
    made = _shown(directory, f"{group.role} {group.name}")
    seeds = [result.system for result in group.results]
    parts = [(f"seed {s.facts.seed}", s.fingerprint) for s in seeds]
    yield replace(made, parts=tuple(parts) if len(parts) > 1 else ())


def _made_together(
    job: Job, name: str, results: Sequence[SystemResult], recipe_of: Callable[[System], Recipe]
) -> Iterator[Made]:
    """One of several records that differ in the system alone, and the fingerprints of all."""
    recipes = [(result.system.name, recipe_of(result.system)) for result in results]
    fresh = [(shown, recipe) for shown, recipe in recipes if job.shelf.is_fresh(recipe)]
    if fresh:
        made = _shown(job.shelf.place(fresh[0][1]), f"{name}, all systems")
        parts = tuple((shown, recipe.fingerprint) for shown, recipe in fresh)
        yield replace(made, parts=parts)


def _shown(directory: Path, name: str) -> Made:
    made = read_record(directory)
    inputs = {key: value[:SHORT] for key, value in made.inputs.items()}
    shown = {"program": made.program, "settings": made.settings, "inputs": inputs}
    return Made(
        name=name,
        fingerprint=made.fingerprint,
        settings=json.dumps(shown, indent=2, sort_keys=True, ensure_ascii=False),
    )


def _program() -> str:
    """Version, and in a checkout the commit: `essence 0.1.0, commit 9a469f0`."""
    version = f"essence {VERSION}"
    checkout = Path(__file__).parent.parent
    if not (checkout / ".git").exists():
        return version
    git = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):  # no git here, or it may not read the checkout
        return version
    return f"{version}, commit {commit.stdout.strip()}"
