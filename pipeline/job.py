"""Job: what one command is about: its settings, where things lie, where progress is shown."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch

from pipeline.errors import SettingsError
from pipeline.freshness import Fill, Recipe, Shelf
from pipeline.recipes import Recipes
from pipeline.settings import PipelineSettings
from pipeline.together import make_together
from pipeline.workers import Workers, workforce
from stages.contract.progress import Progress
from stages.teacher.workforce import Workforce
from stages.training.launched import own_device
from stages.training.ranks import ALONE, Ranks

COMMAND_OF = {
    "member": "ensemble",
    "graph": "evaluate",
    "evaluation": "evaluate",
    "frames": "evaluate",
}


@dataclass(frozen=True)
class Job:
    """One command's settings, shelf, recipes and progress."""

    settings: PipelineSettings
    progress: Progress
    workers: Workers = field(default_factory=Workers)
    ranks: Ranks = ALONE

    @cached_property
    def shelf(self) -> Shelf:
        """The work directory."""
        return Shelf(self.settings.work_dir)

    @cached_property
    def recipes(self) -> Recipes:
        """What every artefact is made of."""
        return Recipes(self.settings, self.shelf)

    @cached_property
    def device(self) -> str:
        """The device that models run on.

        Raises:
            SettingsError: where this machine has no such device.
        """
        said = self.settings.device
        if self.ranks.size > 1 and said not in ("cpu", "cuda"):
            raise SettingsError(
                f"device {said}: under torchrun wanted cpu, or cuda: each rank takes its own GPU"
            )
        device = own_device(said)
        kind, _, number = device.partition(":")
        count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": torch.mps.device_count()}[kind]
        if int(number or 0) >= count:
            found = f"{count} of that kind" if count else "none of that kind"
            raise SettingsError(
                f"device {device}: found {found} here: use --device cpu, or another"
            )
        return device

    @property
    def teacher_device(self) -> str:
        """The device of the teacher; that of a cluster's workers may be missing here."""
        return self.settings.device if self.workers.scheduler else self.device

    def workforce(self) -> AbstractContextManager[Workforce]:
        """Whoever does the teacher's shards."""
        return workforce(self.workers, device=self.teacher_device, note=self.progress.note)

    def is_fresh(self, recipe: Recipe) -> bool:
        """Is it made already? Says so if it is.

        Raises:
            Changed: where a file of it is not what was written.
        """
        return self.ranks.first(lambda: b"fresh" if self._is_fresh(recipe) else b"") == b"fresh"

    def _is_fresh(self, recipe: Recipe) -> bool:
        fresh = self.shelf.is_fresh(recipe)
        if fresh:
            self.shelf.check(self.shelf.place(recipe))
            title = " ".join(filter(None, [recipe.stage, recipe.shown_as]))
            self.progress.note(f"{title}: fresh ({self.shelf.place(recipe)})")
        return fresh

    def need(self, recipe: Recipe) -> Path:
        """The directory of an artefact that must be there.

        Raises:
            NotMadeYet: naming the command that makes it.
        """
        command = COMMAND_OF.get(recipe.stage, recipe.stage)
        self.ranks.first(lambda: self.shelf.need(recipe, command=command).name.encode())
        return self.shelf.place(recipe)

    def make_together(self, recipe: Recipe, fill: Fill) -> Path:
        """The artefact's directory; all ranks fill it."""
        return make_together(self.shelf, self.ranks, recipe, fill)
