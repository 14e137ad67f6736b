"""Table of artefacts: what `essence status` prints."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.job import Job
from pipeline.shelf.garbage import num_bytes
from pipeline.shelf.record import Recipe
from pipeline.systems import ensemble_of, members_of, student_recipe, students_of
from pipeline.terminal.columns import aligned, in_bytes
from pipeline.terminal.plain_text import plain_text


def status_table(job: Job, *, is_thorough: bool) -> tuple[str, int]:
    """One line for each artefact (stage, name, state, size, place), then one for each damaged one.

    Also returns the number of those. Their records are read; if `is_thorough`, all their files are
    compared with their digests, except what is inside corpus files and stores.
    """
    rows, damages = [], []
    for recipe in _recipes(job):
        place = job.shelf.place(recipe)
        damage = job.shelf.damage(recipe, is_thorough=is_thorough)
        state = "damaged" if damage else _state(job, recipe)
        rows.append((recipe.stage, recipe.shown_as, state, _size(job, recipe), str(place)))
        damages += [f"damaged: {damage}"] if damage else []
    table = aligned([("stage", "name", "state", "size", "place"), *rows])
    lines = map(plain_text, dict.fromkeys(damages))
    return "\n".join([table, *lines]), len(damages)


def _size(job: Job, recipe: Recipe) -> str:
    """Of the artefact, or of what is begun of it."""
    places = (job.shelf.place(recipe), job.shelf.partial(recipe))
    here = next((place for place in places if place.is_dir()), None)
    return "-" if here is None else in_bytes(num_bytes(here))


def _recipes(job: Job) -> Iterator[Recipe]:
    recipes = job.recipes
    yield from (recipes.corpus, *recipes.members, recipes.teacher)
    if job.settings.needs_labels:
        yield recipes.labels
    students = (student_recipe(job, student) for student in job.settings.students)
    yield from {recipe.fingerprint: recipe for recipe in students}.values()
    systems = [*members_of(job), ensemble_of(job), *students_of(job)]
    yield from map(recipes.evaluation, systems)
    yield from map(recipes.frames, systems)
    yield recipes.report(systems)
    if job.shelf.is_fresh(recipes.audio):
        yield recipes.audio
    for made in job.shelf.found("export"):
        if made.inputs.get("corpus") == recipes.corpus.fingerprint:
            yield replace(made, shown_as=made.remarks.get("system", ""))


def _state(job: Job, recipe: Recipe) -> str:
    if job.shelf.is_fresh(recipe):
        return "fresh"
    return "begun" if job.shelf.is_begun(recipe) else "to do"
