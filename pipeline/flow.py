"""The flow: every stage once, as one plain call. Read this page and you know the program.

    corpus -> ensemble -> teacher -> student -> evaluate -> report
                       -> labels  ->

`job.make` returns the directory of an artefact. If there is none yet, it looks up what the stage
reads, and calls the stage to fill a new directory. The ensemble runs once: when the teacher's
stores are there, no stage below reads a member.
"""

from functools import partial
from pathlib import Path

from pipeline.cards import with_card
from pipeline.cluster.workers import label_with_workers
from pipeline.evaluation import (
    decoding_graph,
    evaluate_one,
    systems_to_evaluate,
    transcript_graph,
)
from pipeline.hard_labels import path_settings, train_labels
from pipeline.job import Job
from pipeline.report_inputs import collect
from pipeline.shelf.record import Recipe
from pipeline.side_by_side import Model, make_each
from pipeline.soft_labels import train_store
from pipeline.systems import student_recipe
from pipeline.trunk import made_trunk, shortest_first
from stages.contract.results import SystemResult
from stages.corpus.build import build_corpus
from stages.corpus.spoken_audio import refuse_other_audio, write_audio
from stages.ensemble.make import make_member
from stages.labels.label import label_train
from stages.members.settings import MemberSettings
from stages.report.page import write_report
from stages.student.settings import StudentSettings
from stages.student.train import train_student


def corpus(job: Job) -> Path:
    """source -> corpus: features, hard labels and transcripts of every split, and the lang."""
    return job.make(
        job.recipes.corpus,
        lambda: partial(build_corpus, job.settings.corpus, progress=job.progress),
    )


def audio(job: Job) -> Path:
    """spoken corpus -> its recordings of dev and test, with tables for `transcribe`."""
    refuse_other_audio(job.settings.corpus)
    return job.make(
        job.recipes.audio,
        lambda: partial(write_audio, job.settings.corpus, progress=job.progress),
    )


def ensemble(job: Job) -> list[Path]:
    """corpus -> members: acoustic models trained on hard labels, or models trained elsewhere."""
    members = zip(job.recipes.members, job.settings.ensemble.members, strict=True)
    make_each(
        job,
        [
            Model(
                recipe=recipe,
                num_frames=settings.frames_to_train_on,
                make=partial(member, recipe=recipe, settings=settings),
            )
            for recipe, settings in members
        ],
    )
    return [job.shelf.place(recipe) for recipe in job.recipes.members]


def member(job: Job, recipe: Recipe, settings: MemberSettings) -> Path:
    """corpus -> one member."""
    return job.make_trained(
        recipe,
        lambda: partial(
            make_member,
            settings,
            corpus_directory=job.need(job.recipes.corpus),
            device=job.device,
            progress=job.progress,
            ranks=job.ranks,
            keep_bad=job.settings.teacher.on_bad_posterior == "skip-utterance",
        ),
    )


def teacher(job: Job) -> Path:
    """members and corpus -> soft-label stores: the only pass of the ensemble over the corpus."""
    return job.make(
        job.recipes.teacher,
        lambda: partial(
            label_with_workers,
            job.settings.teacher,
            members=[job.need(member) for member in job.recipes.members],
            corpus_directory=job.need(job.recipes.corpus),
            graph_directory=transcript_graph(job),
            device=job.teacher_device,
            progress=job.progress,
            workers=job.workers,
        ),
    )


def labels(job: Job) -> Path:
    """members and corpus -> hard labels of train, for students that ask for them."""
    return job.make(
        job.recipes.labels,
        lambda: partial(
            label_train,
            path_settings(job),
            members=[job.need(member) for member in job.recipes.members],
            corpus_directory=job.need(job.recipes.corpus),
            graph_directory=decoding_graph(job),
            device=job.device,
            progress=job.progress,
        ),
    )


def student(job: Job, settings: StudentSettings) -> Path:
    """soft labels and hard labels -> one small model."""
    recipe = student_recipe(job, settings)
    return job.make_trained(
        recipe,
        lambda: with_card(
            job,
            recipe,
            partial(
                train_student,
                settings,
                corpus_directory=job.need(job.recipes.corpus),
                store=train_store(job, settings),
                hard_labels=train_labels(job, settings),
                device=job.device,
                progress=job.progress,
                ranks=job.ranks,
                trunk=made_trunk(job, settings),
            ),
        ),
    )


def student_model(job: Job, settings: StudentSettings) -> Model:
    """A student, to be made with others."""
    return Model(
        recipe=student_recipe(job, settings),
        num_frames=settings.frames_to_train_on,
        make=partial(student, settings=settings),
    )


def evaluate(job: Job) -> list[SystemResult]:
    """members, ensemble, every student -> word errors, frame errors, distance to the teacher."""
    job.need(job.recipes.corpus)
    return [evaluate_one(job, system) for system in systems_to_evaluate(job)]


def report(job: Job, results: list[SystemResult]) -> Path:
    """all results -> one page."""
    recipe = job.recipes.report([result.system for result in results])
    job.make(recipe, lambda: partial(write_report, job.settings.report, collect(job, results)))
    return job.shelf.link(recipe, name="report") / "index.html"


def run(job: Job) -> list[SystemResult]:
    """Everything that is not fresh, in order."""
    job.check_device()  # also with a scheduler: students are trained here
    corpus(job)
    if job.settings.needs_teacher and not job.is_fresh(job.recipes.teacher):
        ensemble(job)
        teacher(job)
    if job.settings.needs_labels and not job.is_fresh(job.recipes.labels):
        ensemble(job)
        labels(job)
    make_each(job, [student_model(job, each) for each in shortest_first(job.settings.students)])
    results = evaluate(job)
    report(job, results)
    return results
