"""Job: what one command is about: its settings, where things lie, where progress is shown."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pipeline.freshness import Recipe, Shelf
from pipeline.recipes import Recipes
from pipeline.settings import PipelineSettings
from stages.speech.progress import Progress

COMMAND_OF = {"member": "ensemble", "graph": "evaluate", "evaluation": "evaluate"}


@dataclass(frozen=True)
class Job:
    """One command's settings, shelf, recipes and progress."""

    settings: PipelineSettings
    progress: Progress

    @cached_property
    def shelf(self) -> Shelf:
        """The work directory."""
        return Shelf(self.settings.work_dir)

    @cached_property
    def recipes(self) -> Recipes:
        """What every artefact is made of."""
        return Recipes(self.settings, self.shelf)

    def is_fresh(self, recipe: Recipe) -> bool:
        """Is it made already? Says so if it is."""
        fresh = self.shelf.is_fresh(recipe)
        if fresh:
            title = " ".join(filter(None, [recipe.stage, recipe.shown_as]))
            self.progress.note(f"{title}: fresh ({self.shelf.place(recipe)})")
        return fresh

    def need(self, recipe: Recipe) -> Path:
        """The directory of an artefact that must be there.

        Raises:
            NotMadeYet: naming the command that makes it.
        """
        return self.shelf.need(recipe, command=COMMAND_OF.get(recipe.stage, recipe.stage))
