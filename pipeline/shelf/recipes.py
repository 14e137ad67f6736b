"""Recipes: settings -> what each artefact is made of. Pure, save for a look at the source's files.

A fingerprint follows from settings and inputs alone, never from what training produced: so all
of them are known before anything runs, and an artefact that was removed is not missed by those
that were made from it.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from pipeline.settings.tree import PipelineSettings
from pipeline.shelf.freshness import Recipe, Shelf
from pipeline.shelf.named_stores import NamedStores
from stages.acoustic.lang.graph import GRAPH_FORMAT
from stages.contract.results import QUALITY_FORMAT, RESULT_FORMAT, System
from stages.corpus.build import source_fingerprint
from stages.members.kind import MemberSettings
from stages.report.settings import PAGE_FORMAT
from stages.student.settings import StudentSettings


class Recipes:
    """All recipes of one settings tree."""

    def __init__(self, settings: PipelineSettings, shelf: Shelf) -> None:
        self._settings = settings
        self._shelf = shelf

    @cached_property
    def stores(self) -> NamedStores:
        """Stores that the settings name."""
        return NamedStores(self._settings.work_dir)

    @cached_property
    def corpus(self) -> Recipe:
        """The corpus: its settings and the content of its source; where that lies does not count.

        Where the source is away (another machine, an unmounted disk) but a corpus was made here
        from that very path with the same settings, that one is meant.
        """
        corpus = self._settings.corpus
        recipe = Recipe(
            stage="corpus",
            settings=corpus.identity(),
            remarks={"path": str(corpus.path or "")},
        )
        if corpus.path is not None and not corpus.path.exists():
            for made in self._shelf.found("corpus"):
                if (made.settings, made.remarks) == (recipe.settings, recipe.remarks):
                    return made
        return replace(recipe, inputs={"source": source_fingerprint(corpus)})

    @cached_property
    def members(self) -> tuple[Recipe, ...]:
        """A recipe for every member of the ensemble."""
        return tuple(map(self._member, self._settings.ensemble.members))

    def _member(self, member: MemberSettings) -> Recipe:
        """Of the files that a member is made from, the content counts, not the place.

        If they are missing, the member that was made from that very path is meant: once the
        stores are made, nothing reads those files again.
        """
        recipe = Recipe(
            stage="member",
            settings=member.identity(),
            inputs={"corpus": self.corpus.fingerprint},
            shown_as=member.name,
        )
        source = member.source()
        if source is None:
            return recipe
        recipe = replace(recipe, remarks={"path": str(source.path)})
        if not source.path.exists():
            for made in self._shelf.found("member"):
                same = (made.settings, made.remarks) == (recipe.settings, recipe.remarks)
                if same and made.inputs.items() > recipe.inputs.items():
                    return replace(made, shown_as=member.name)
        return replace(recipe, inputs={**recipe.inputs, source.name: source.fingerprint()})

    @cached_property
    def teacher(self) -> Recipe:
        """The soft-label stores: the members, in the settings' order, and how they combine."""
        members = {f"member {n}": member.fingerprint for n, member in enumerate(self.members)}
        return Recipe(
            stage="teacher",
            settings=self._settings.teacher.identity(),
            inputs={"corpus": self.corpus.fingerprint, **members},
        )

    def student(self, student: StudentSettings) -> Recipe:
        """A student. One on hard labels alone does not depend on the teacher.

        A store that the settings name counts by its digest, wherever it lies: no teacher is needed.
        """
        inputs = {"corpus": self.corpus.fingerprint}
        if student.hard_weight < 1 and student.store is not None:
            inputs["store"] = self.stores.digest(student.store)
        elif student.hard_weight < 1:
            inputs["teacher"] = self.teacher.fingerprint
        return Recipe(
            stage="student",
            settings=student.identity(),
            inputs=inputs,
            shown_as=student.name or "",
        )

    @cached_property
    def students(self) -> tuple[Recipe, ...]:
        """Every student of the settings, once."""
        recipes = map(self.student, self._settings.students)
        return tuple({recipe.fingerprint: recipe for recipe in recipes}.values())

    def students_found(self) -> Iterator[Recipe]:
        """Those of the settings, then every other student of this corpus that is here."""
        names = {recipe.fingerprint for recipe in self.students}
        yield from (recipe for recipe in self.students if self._shelf.is_fresh(recipe))
        for recipe in self._shelf.found("student"):
            same_corpus = recipe.inputs.get("corpus") == self.corpus.fingerprint
            if same_corpus and recipe.fingerprint not in names:
                yield recipe

    @cached_property
    def graph(self) -> Recipe:
        """The decoding graph of the corpus's lang."""
        return Recipe(
            stage="graph",
            settings={"format": GRAPH_FORMAT},
            inputs={"corpus": self.corpus.fingerprint},
        )

    def evaluation(self, system: System) -> Recipe:
        """One system's results; its name does not count."""
        return Recipe(
            stage="evaluation",
            settings={"format": RESULT_FORMAT, **self._settings.evaluate.identity()},
            inputs={"corpus": self.corpus.fingerprint, "system": system.fingerprint},
            shown_as=system.name,
            remarks={"system": system.name},
        )

    def dev_labels(self, system: System) -> Recipe | None:
        """The soft labels that a system is measured against: a student's own, else the teacher's.

        None where they are not here, or none were made of dev.
        """
        wanted = system.teacher or self.teacher.fingerprint
        found = (made for made in self._shelf.found("teacher") if made.fingerprint == wanted)
        recipe = next(found, None)
        if recipe is None or not (self._shelf.place(recipe) / "dev.zarr").is_dir():
            return None
        return recipe

    def frames(self, system: System) -> Recipe:
        """What a system's posteriors of dev are worth, and how near they are to soft labels."""
        inputs = {"corpus": self.corpus.fingerprint, "system": system.fingerprint}
        if labels := self.dev_labels(system):
            inputs["teacher"] = labels.fingerprint
        return Recipe(
            stage="frames",
            settings={"format": QUALITY_FORMAT},
            inputs=inputs,
            shown_as=system.name,
        )

    def report(self, systems: list[System]) -> Recipe:
        """The page over all results; here the systems' names count: they stand on it."""
        inputs = {system.name: self.evaluation(system).fingerprint for system in systems}
        inputs |= {f"frames of {s.name}": self.frames(s).fingerprint for s in systems}
        return Recipe(
            stage="report",
            settings={"format": PAGE_FORMAT, **self._settings.report.identity()},
            inputs={"teacher": self.teacher.fingerprint, **inputs},
        )
