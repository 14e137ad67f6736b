"""Tables: what the commands print on stdout."""

from collections.abc import Iterator, Sequence

from pipeline.columns import aligned
from pipeline.freshness import Recipe
from pipeline.job import Job
from pipeline.systems import ensemble_of, members_of, students_of
from stages.contract.results import SystemResult


def results_table(results: Sequence[SystemResult]) -> str:
    """A line a system: parameters, errors on dev, word errors on test with their interval."""
    head = (
        "system",
        "parameters",
        "frame err dev",
        "WER dev",
        "WER test",
        "95 % interval",
        "ins/del/sub",
    )
    return aligned([head, *map(_result_row, results)])


def _result_row(result: SystemResult) -> tuple[str, ...]:
    test = result.test
    words = test.words
    frame_error = result.dev.frame_error
    return (
        result.system.name,
        "-" if result.num_parameters is None else f"{result.num_parameters:,}",
        "-" if frame_error is None else f"{frame_error:.1%}",
        f"{result.dev.words.rate:.1%}",
        f"{words.rate:.1%}",
        f"{test.rate_low:.1%} to {test.rate_high:.1%}",
        f"{words.insertions}/{words.deletions}/{words.substitutions}",
    )


def status_table(job: Job) -> str:
    """A line an artefact: stage, name, fresh or not, where."""
    rows = [(r.stage, r.shown_as, _state(job, r), str(job.shelf.place(r))) for r in _recipes(job)]
    return aligned([("stage", "name", "state", "place"), *rows])


def _recipes(job: Job) -> Iterator[Recipe]:
    recipes = job.recipes
    yield from (recipes.corpus, *recipes.members, recipes.teacher, *recipes.students)
    systems = [*members_of(job), ensemble_of(job), *students_of(job)]
    yield from map(recipes.evaluation, systems)
    yield from map(recipes.frames, systems)
    yield recipes.report(systems)


def _state(job: Job, recipe: Recipe) -> str:
    if job.shelf.is_fresh(recipe):
        return "fresh"
    return "begun" if job.shelf.is_begun(recipe) else "to do"
