"""Tables: what the commands print on stdout."""

from collections.abc import Iterator, Sequence

from pipeline.columns import aligned
from pipeline.freshness import Recipe
from pipeline.job import Job
from pipeline.systems import ensemble_of, members_of, students_of
from stages.contract.results import SystemResult
from stages.report.settings import ReportSettings
from stages.report.statistics.bootstrap import Interval
from stages.report.statistics.comparisons import compare
from stages.report.statistics.groups import group_results


def results_table(results: Sequence[SystemResult], settings: ReportSettings) -> str:
    """A line a system: parameters, errors on dev, word errors on test with their interval.

    The interval is the report's: the same draws, by `report.bootstrap_samples` and `report.seed`.
    """
    found = compare(group_results(results), samples=settings.bootstrap_samples, seed=settings.seed)
    head = (
        "system",
        "parameters",
        "frame err dev",
        "WER dev",
        "WER test",
        "95 % interval",
        "ins/del/sub",
    )
    intervals = found.system_intervals
    rows = [_result_row(result, intervals.get(result.system.fingerprint)) for result in results]
    return aligned([head, *rows])


def _result_row(result: SystemResult, interval: Interval | None) -> tuple[str, ...]:
    words = result.test.words
    frame_error, num_parameters = result.dev.frame_error, result.evaluation.num_parameters
    return (
        result.system.name,
        "-" if num_parameters is None else f"{num_parameters:,}",
        "-" if frame_error is None else f"{frame_error:.1%}",
        f"{result.dev.words.rate:.1%}",
        f"{words.rate:.1%}",
        f"{interval.low:.1%} to {interval.high:.1%}" if interval else "-",
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
