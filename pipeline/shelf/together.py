"""Together: one artefact made by all ranks of torchrun; the first locks and publishes it."""

from pathlib import Path

from pipeline.shelf.freshness import Fill, Shelf
from pipeline.shelf.record import Recipe
from stages.training.ranks import Ranks

FILL, MADE = b"fill", b"made"


def make_together(shelf: Shelf, ranks: Ranks, recipe: Recipe, fill: Fill) -> Path:
    """The artefact's directory; the work directory must be shared by all ranks.

    An error of the first rank (another process makes the artefact, a full disk) ends them all.
    """
    if ranks.size == 1:
        return shelf.make(recipe, fill)
    if ranks.is_first:
        place = shelf.make(recipe, _Announced(fill, ranks))
        ranks.from_first(MADE)
        return place
    if ranks.from_first(b"") == FILL:
        fill(directory=shelf.partial(recipe))
        ranks.from_first(b"")
    return shelf.place(recipe)


class _Announced:
    """A stage that lets the other ranks begin when the first one does."""

    def __init__(self, fill: Fill, ranks: Ranks) -> None:
        self._fill = fill
        self._ranks = ranks

    def __call__(self, *, directory: Path) -> None:
        self._ranks.from_first(FILL)
        self._fill(directory=directory)
