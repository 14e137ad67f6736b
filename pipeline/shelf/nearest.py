"""Nearest: the artefact here that differs least from one that is not made yet.

A mistyped setting names a new corpus or member, which takes hours: a line tells what differs.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.settings.wording import shortened
from pipeline.shelf.freshness import Shelf
from pipeline.shelf.record import Recipe

MOST_DIFFERENCES = 3  # with more of them it is another artefact, not a mistake in typing


def differences(found: Recipe, wanted: Recipe) -> list[str]:
    """Each setting in which two recipes of a stage differ, as `key: found -> wanted`."""
    here, there = dict(_flat(found.settings)), dict(_flat(wanted.settings))
    keys = [key for key in there | here if here.get(key) != there.get(key)]
    return [f"{key}: {shortened(here.get(key))} -> {shortened(there.get(key))}" for key in keys]


def nearest(wanted: Recipe, made: Iterable[Recipe]) -> tuple[Recipe, list[str]] | None:
    """The artefact that differs least, and in what; None if all differ in much, or in the corpus.

    An artefact of another corpus is not compared: its corpus is what differs.
    """
    compared = [
        (each, differences(each, wanted))
        for each in made
        if each.inputs.get("corpus") == wanted.inputs.get("corpus")
    ]
    close = [(each, lines) for each, lines in compared if 0 < len(lines) <= MOST_DIFFERENCES]
    return min(close, key=lambda pair: (len(pair[1]), pair[0].name), default=None)


def notes_of_new(shelf: Shelf, recipes: Iterable[Recipe]) -> Iterator[str]:
    """A line for each artefact that is not here, if a similar one is that these settings left."""
    recipes = list(recipes)
    names = {recipe.name for recipe in recipes}
    for recipe in recipes:
        if shelf.is_fresh(recipe) or shelf.is_begun(recipe):
            continue
        left = [made for made in shelf.found(recipe.stage) if made.name not in names]
        if found := nearest(recipe, left):
            made, lines = found
            title = f"{recipe.name} ({recipe.shown_as})" if recipe.shown_as else recipe.name
            # The corpus has one branch of the settings; members stand in a list.
            prefix = f"{recipe.stage}." if recipe.stage == "corpus" else ""
            what = ", ".join(f"{prefix}{line}" for line in lines)
            yield f"new {title}: the nearest one here, {made.name}, differs in {what}"


def _flat(tree: dict[str, Any], below: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{below}{key}.")
        else:
            yield f"{below}{key}", value
