"""system -> results: which systems can be evaluated here, and one of them evaluated.

An evaluation is two artefacts: words, decoded (`evaluation-*`), and frames, measured on dev
(`frames-*`). Only the second depends on the teacher: other soft labels decode nothing again.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from pipeline.errors import NotMadeYet
from pipeline.job import Job
from pipeline.shelf.contents import read_json, refuse_changed
from pipeline.shelf.record import Recipe
from pipeline.soft_labels import dev_store
from pipeline.systems import ensemble_of, fully_transcribed_of, members_of, students_of
from stages.acoustic.lang.lang_folder import build_decoding_graph, read_lang_folder
from stages.contract.results import (
    SPEED_FILE,
    Evaluation,
    FrameQuality,
    Speed,
    System,
    SystemResult,
)
from stages.evaluate.evaluate import RESULT_FILE, evaluate_system
from stages.evaluate.frame_quality import QUALITY_FILE, measure_frames
from stages.evaluate.readiness import why_not
from storage.errors import EssenceError


def systems_to_evaluate(job: Job) -> list[System]:
    """Every system whose words are decoded already, or whose models are here.

    Raises:
        NotMadeYet: when there is none.
    """
    found = list(_systems_here(job))
    if not found:
        raise NotMadeYet("no model is here: run 'essence ensemble' or 'essence student' first")
    return found


def _systems_here(job: Job) -> Iterator[System]:
    for system in (*members_of(job), ensemble_of(job), *students_of(job)):
        if (reason := _why_left_out(job, system)) is None:
            yield system
        else:
            job.progress.note(f"evaluation {system.name}: left out: {reason}")
    for system in fully_transcribed_of(job):
        # Only with its evaluation: its corpus is not the one of these settings.
        is_evaluated = job.shelf.is_fresh(job.recipes.evaluation(system))
        if is_evaluated and _why_left_out(job, system) is None:
            yield system


def _why_left_out(job: Job, system: System) -> str | None:
    """Why a system is not in the tables: its models are not here, or cannot be used.

    Raises:
        EssenceError: when models that the settings name are not as they were written.
    """
    is_evaluated = job.shelf.is_fresh(job.recipes.evaluation(system))
    named = {recipe.fingerprint for recipe in job.recipes.students}
    is_found = system.kind == "student" and system.fingerprint not in named
    try:
        for directory in filter(Path.exists, system.model_directories):
            job.shelf.check(directory)
            if is_found and not job.shelf.is_fresh(job.recipes.frames(system)):
                refuse_changed(directory, weights=True)  # they are going to be read
        return None if is_evaluated else why_not(system)
    except EssenceError as error:
        if not is_found:
            raise
        return str(error)


def evaluate_one(job: Job, system: System) -> SystemResult:
    """One system -> all its measurements; `frames` is None if its models are not here any more.

    Frames of a system of another corpus are not measured.
    """
    recipe = job.recipes.frames(system)
    is_here = job.shelf.is_fresh(recipe) or why_not(system) is None
    measurable = is_here and not system.is_fully_transcribed
    evaluation = decode_system(job, system)
    place = _measure(job, system, recipe) if measurable else None
    return SystemResult(
        system=system,
        evaluation=evaluation,
        frames=read_json(FrameQuality, place / QUALITY_FILE) if place else None,
        real_time_factor=_real_time_factor(place / SPEED_FILE) if place else None,
    )


def _real_time_factor(path: Path) -> float | None:
    """None for frames that an earlier version measured."""
    return read_json(Speed, path).real_time_factor if path.is_file() else None


def decode_system(job: Job, system: System) -> Evaluation:
    """One system's words on dev and test, decoded if they are not there."""
    place = job.make(
        job.recipes.evaluation(system),
        lambda: partial(
            evaluate_system,
            job.settings.evaluate,
            system=system,
            corpus_directory=job.need(job.recipes.corpus),
            graph_directory=decoding_graph(job),
            device=job.device,
            progress=job.progress,
        ),
    )
    return read_json(Evaluation, place / RESULT_FILE)


def decoding_graph(job: Job) -> Path:
    """The decoding graph of the corpus, made if it is not there."""
    lang = job.need(job.recipes.corpus) / "lang"
    return job.make(
        job.recipes.graph, lambda: partial(build_decoding_graph, read_lang_folder(lang))
    )


def transcript_graph(job: Job) -> Path | None:
    """The graph for posteriors given the transcript; None for plain ones."""
    return None if job.settings.teacher.posteriors == "plain" else decoding_graph(job)


def _measure(job: Job, system: System, recipe: Recipe) -> Path:
    return job.make(
        recipe,
        lambda: partial(
            measure_frames,
            system,
            corpus_directory=job.need(job.recipes.corpus),
            store=dev_store(job, system),
            batch_frames=job.settings.evaluate.batch_frames,
            device=job.device,
            progress=job.progress,
        ),
    )
