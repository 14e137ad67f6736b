"""The flow: every stage once, as one plain call. Read this page and you know Essence.

    corpus -> ensemble -> teacher -> student -> evaluate -> report

A stage fills a directory, and the shelf publishes it under the fingerprint of its recipe. What
is fresh is not made again. The teacher's work is done once: with its stores here, nothing below
asks for the ensemble any more.
"""

from functools import partial
from pathlib import Path

from pipeline.contents import read_json
from pipeline.errors import NotMadeYet
from pipeline.freshness import Recipe
from pipeline.job import Job
from pipeline.report_inputs import collect
from pipeline.systems import ensemble_of, members_of, students_of
from stages.acoustic.lang.lang_folder import build_decoding_graph, read_lang_folder
from stages.contract.results import Evaluation, FrameQuality, System, SystemResult
from stages.corpus.build import build_corpus
from stages.ensemble.make import make_member
from stages.evaluate.evaluate import evaluate_system
from stages.evaluate.frame_quality import measure_frames
from stages.evaluate.readiness import why_not
from stages.members.kind import MemberSettings
from stages.report.page import write_report
from stages.student.settings import StudentSettings
from stages.student.train import train_student
from stages.teacher.label import label_corpus
from storage.place.find_place import find_place
from storage.place.place import Place


def corpus(job: Job) -> Path:
    """source -> corpus: features, hard labels and transcripts of every split, and the lang."""
    recipe = job.recipes.corpus
    if job.is_fresh(recipe):
        return job.shelf.place(recipe)
    fill = partial(build_corpus, job.settings.corpus, progress=job.progress)
    return job.shelf.make(recipe, fill)


def ensemble(job: Job) -> list[Path]:
    """corpus -> members: acoustic models trained on hard labels, or other people's posteriors."""
    members = zip(job.recipes.members, job.settings.ensemble.members, strict=True)
    return [_member(job, recipe, settings) for recipe, settings in members]


def _member(job: Job, recipe: Recipe, settings: MemberSettings) -> Path:
    if job.is_fresh(recipe):
        return job.shelf.place(recipe)
    fill = partial(
        make_member,
        settings,
        corpus_directory=job.need(job.recipes.corpus),
        device=job.device,
        progress=job.progress,
        ranks=job.ranks,
    )
    return job.make_together(recipe, fill)


def teacher(job: Job) -> Path:
    """members and corpus -> soft-label stores: the ensemble's one and only pass."""
    recipe = job.recipes.teacher
    if job.is_fresh(recipe):
        return job.shelf.place(recipe)
    fill = partial(
        label_corpus,
        job.settings.teacher,
        members=[job.need(member) for member in job.recipes.members],
        corpus_directory=job.need(job.recipes.corpus),
        device=job.teacher_device,
        progress=job.progress,
    )
    with job.workforce() as workforce:
        return job.shelf.make(recipe, partial(fill, workforce=workforce))


def student(job: Job, settings: StudentSettings) -> Path:
    """soft labels and hard labels -> one small model. The ensemble is not asked."""
    recipe = job.recipes.student(settings)
    if job.is_fresh(recipe):
        return job.shelf.place(recipe)
    fill = partial(
        train_student,
        settings,
        corpus_directory=job.need(job.recipes.corpus),
        store=_soft_labels(job, settings),
        device=job.device,
        progress=job.progress,
        ranks=job.ranks,
    )
    return job.make_together(recipe, fill)


def _soft_labels(job: Job, settings: StudentSettings) -> Place | None:
    """The store that a student learns from: the one that it names, else the teacher's."""
    if settings.hard_weight == 1:
        return None
    if settings.store is not None:
        job.recipes.stores.refuse_changed(settings.store)
        return job.recipes.stores.place(settings.store, cache_bytes=settings.cache_bytes)
    return find_place(job.need(job.recipes.teacher) / "train.zarr")


def evaluate(job: Job) -> list[SystemResult]:
    """members, ensemble, every student found -> frame error, cross-entropy, word errors."""
    job.need(job.recipes.corpus)
    systems = [*members_of(job), ensemble_of(job), *students_of(job)]
    found = [result for system in systems if (result := evaluate_one(job, system))]
    if not found:
        raise NotMadeYet("no model is here: run 'essence ensemble' or 'essence student' first")
    return found


def evaluate_one(job: Job, system: System) -> SystemResult | None:
    """One system -> its errors; None, and a note, where its models are not here."""
    recipe = job.recipes.evaluation(system)
    if not job.is_fresh(recipe):
        if reason := why_not(system):
            job.progress.note(f"evaluation {system.name}: left out: {reason}")
            return None
        fill = partial(
            evaluate_system,
            job.settings.evaluate,
            system=system,
            corpus_directory=job.need(job.recipes.corpus),
            graph_directory=_graph(job),
            device=job.device,
            progress=job.progress,
        )
        job.shelf.make(recipe, fill)
    evaluation = read_json(Evaluation, job.shelf.place(recipe) / "result.json")
    return SystemResult(system=system, evaluation=evaluation, frames=_frames(job, system))


def _frames(job: Job, system: System) -> FrameQuality | None:
    recipe = job.recipes.frames(system)
    if not job.is_fresh(recipe):
        if why_not(system):
            return None
        labels = job.recipes.dev_labels(system)
        fill = partial(
            measure_frames,
            system,
            corpus_directory=job.need(job.recipes.corpus),
            store=job.need(labels) / "dev.zarr" if labels else None,
            batch_frames=job.settings.evaluate.batch_frames,
            device=job.device,
            progress=job.progress,
        )
        job.shelf.make(recipe, fill)
    return read_json(FrameQuality, job.shelf.place(recipe) / "frames.json")


def _graph(job: Job) -> Path:
    lang = read_lang_folder(job.need(job.recipes.corpus) / "lang")
    return job.shelf.make(job.recipes.graph, partial(build_decoding_graph, lang))


def report(job: Job, results: list[SystemResult]) -> Path:
    """all results -> one page."""
    recipe = job.recipes.report([result.system for result in results])
    if not job.is_fresh(recipe):
        job.shelf.make(recipe, partial(write_report, job.settings.report, collect(job, results)))
    return job.shelf.link(recipe, name="report") / "index.html"


def run(job: Job) -> list[SystemResult]:
    """Everything that is not fresh, in order."""
    corpus(job)
    if job.settings.needs_teacher and not job.is_fresh(job.recipes.teacher):
        ensemble(job)
        teacher(job)
    for settings in job.settings.students:
        student(job, settings)
    results = evaluate(job)
    report(job, results)
    return results
