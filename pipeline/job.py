"""Job: what one command works with: settings, work directory, recipes, device, progress."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.cluster.options import Workers
from pipeline.errors import SettingsError
from pipeline.settings.tree import PipelineSettings
from pipeline.shelf.freshness import Fill, Shelf
from pipeline.shelf.recipes import Recipes
from pipeline.shelf.record import Recipe
from pipeline.shelf.together import make_together
from stages.contract.progress import Progress
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
    """One command's settings, shelf, recipes and progress.

    `num_jobs` models are made side by side; None: as many as the machine has processors for.
    """

    settings: PipelineSettings
    progress: Progress
    workers: Workers = field(default_factory=Workers)
    ranks: Ranks = ALONE
    num_jobs: int | None = 1
    _noted: set[Path] = field(default_factory=set, init=False)  # fresh artefacts, noted once

    @cached_property
    def shelf(self) -> Shelf:
        """The work directory."""
        return Shelf(self.settings.work_dir, note=self.progress.note)

    @cached_property
    def recipes(self) -> Recipes:
        """What every artefact is made of."""
        return Recipes(self.settings, self.shelf)

    @cached_property
    def device(self) -> str:
        """The device that models run on. Raises as `check_device`."""
        return self.check_device()

    def check_device(self) -> str:
        """The device of the settings, before any work begins.

        Raises:
            SettingsError: when this machine has no such device.
        """
        asked = self.settings.device
        if self.ranks.size > 1 and asked not in ("cpu", "cuda"):
            raise SettingsError(
                f"device {asked}: under torchrun wanted cpu, or cuda: each rank takes its own GPU"
            )
        device = own_device(asked)
        kind, _, number = device.partition(":")
        count = 1 if kind == "cpu" else _count_gpus(kind)
        if int(number or 0) >= count:
            found = f"{count} of that kind" if count else "none of that kind"
            raise SettingsError(
                f"device {device}: this machine has {found}: use --device cpu, or another"
            )
        return device

    @property
    def teacher_device(self) -> str:
        """The device of the teacher; that of a cluster's workers need not exist on this machine."""
        return self.settings.device if self.workers.scheduler else self.device

    def is_fresh(self, recipe: Recipe) -> bool:
        """Does it exist, complete? If so, a note tells that, once a command.

        Raises:
            Changed: when one of its files is not as it was written.
        """
        return self.ranks.first(lambda: b"fresh" if self._is_fresh(recipe) else b"") == b"fresh"

    def _is_fresh(self, recipe: Recipe) -> bool:
        if not self.shelf.is_fresh(recipe):
            return False
        place = self.shelf.place(recipe)
        self.shelf.check(place, wanted=recipe.fingerprint)
        if place not in self._noted:
            self._noted.add(place)
            self.progress.note(f"{f'{recipe.stage} {recipe.shown_as}'.rstrip()}: fresh ({place})")
        return True

    def need(self, recipe: Recipe) -> Path:
        """The directory of an artefact that must be there.

        Raises:
            NotMadeYet: naming the command that makes it.
        """
        command = COMMAND_OF.get(recipe.stage, recipe.stage)
        self.ranks.first(lambda: self.shelf.need(recipe, command=command).name.encode())
        return self.shelf.place(recipe)

    def make(self, recipe: Recipe, prepare: Callable[[], Fill]) -> Path:
        """The directory of an artefact. If it is not fresh, all ranks fill it.

        `prepare` looks up what the stage reads. It is called only if the artefact is not fresh, so
        that inputs of fresh artefacts may be removed, and before anything is created.

        Raises:
            NotMadeYet: when an input is missing.
            Changed, InUse: see `Shelf.make`.
        """
        if self.is_fresh(recipe):
            return self.shelf.place(recipe)
        return make_together(self.shelf, self.ranks, recipe, prepare())

    def make_trained(self, recipe: Recipe, prepare: Callable[[], Fill]) -> Path:
        """`make` of a model that is trained, with the threads of the settings.

        torchrun sets those of its ranks. A run that continues has those that it began with.

        Raises:
            NotMadeYet, Changed, InUse: as `make`.
        """
        if self.ranks.size > 1:
            return self.make(recipe, prepare)
        # Here, not at the top: commands without a model start without torch.
        from stages.training.torch_threads import fixed_threads

        with fixed_threads(self.settings.threads):
            return self.make(recipe, prepare)


def _count_gpus(kind: str) -> int:
    """The number of devices of this kind, "cuda" or "mps", on this machine."""
    # Here, not at the top: commands without a model start without torch.
    import torch

    return torch.cuda.device_count() if kind == "cuda" else torch.mps.device_count()
