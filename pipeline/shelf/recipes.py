"""Recipes: settings -> what each artefact is made of. Reads nothing but the sources' files.

A fingerprint follows from settings and the fingerprints of inputs, never from the bytes that
training produced. So all fingerprints are known before anything runs, and an artefact stays fresh
when its inputs are removed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.settings.tree import PipelineSettings
from pipeline.shelf.freshness import Shelf
from pipeline.shelf.named_stores import NamedStores
from pipeline.shelf.record import Recipe, read_record
from stages.acoustic.lang.graph_files import GRAPH_FORMAT
from stages.contract.ensemble_labels import LABELS_FORMAT
from stages.contract.results import (
    AUDIO_FORMAT,
    EXPORT_FORMAT,
    QUALITY_FORMAT,
    RESULT_FORMAT,
    System,
)
from stages.corpus.source_fingerprint import source_fingerprint
from stages.members.settings import MemberSettings
from stages.report.settings import PAGE_FORMAT
from stages.student.settings import StudentSettings

DEV_STORE = "dev.zarr"


def student_settings(recipe: Recipe) -> StudentSettings:
    """Settings of a student; what an earlier version did not have gets its default.

    Raises:
        ValidationError: when they are of another version.
    """
    return StudentSettings.model_validate(recipe.settings)


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
        """The corpus: its settings and the content of its source; the path does not count.

        If the source is not there (another machine, an unmounted disk), a corpus that was made
        here from the same path with the same settings is taken.
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
    def audio(self) -> Recipe:
        """The recordings of the corpus's dev and test, as WAV files with tables."""
        inputs = {"corpus": self.corpus.fingerprint}
        return Recipe(stage="audio", settings={"format": AUDIO_FORMAT}, inputs=inputs)

    @cached_property
    def full_corpus(self) -> Recipe | None:
        """The same corpus with all transcripts; None unless some of them are withheld."""
        settings = {k: v for k, v in self.corpus.settings.items() if k != "labelled_share"}
        if settings == self.corpus.settings:
            return None
        return replace(self.corpus, settings=settings)

    def fully_transcribed(self) -> Iterator[Recipe]:
        """Students on hard labels of the corpus with all transcripts that are made here."""
        full = self.full_corpus
        if full is None:
            return
        for recipe in self._shelf.found("student"):
            of_full = recipe.inputs == {"corpus": full.fingerprint}
            if of_full and self._is_readable(recipe) and recipe.settings["hard_weight"] == 1:
                yield recipe

    @cached_property
    def members(self) -> tuple[Recipe, ...]:
        """A recipe for every member of the ensemble."""
        return tuple(map(self._member, self._settings.ensemble.members))

    def _member(self, member: MemberSettings) -> Recipe:
        """A member: its settings and the content of the files that it is made from.

        If those files are missing, the member that was made here from the same path is taken:
        once the teacher's stores are made, nothing reads the files again.
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
        teacher = self._settings.teacher
        of_graph = {} if teacher.posteriors == "plain" else {"graph_format": GRAPH_FORMAT}
        return Recipe(
            stage="teacher",
            settings={**teacher.identity(), **of_graph},
            inputs={"corpus": self.corpus.fingerprint, **members},
        )

    @cached_property
    def labels(self) -> Recipe:
        """Hard labels by the ensemble: the members, their average, and how paths are found.

        The scale and the penalty that are chosen on dev follow from these.
        """
        teacher = self._settings.teacher
        average = teacher.model_dump(
            mode="json", include={"combine", "weights", "input", "on_bad_posterior"}
        )
        formats = {"format": LABELS_FORMAT, "graph_format": GRAPH_FORMAT}
        return Recipe(
            stage="labels",
            settings={**formats, **average, **self._settings.evaluate.identity()},
            inputs=self.teacher.inputs,
        )

    def student(self, student: StudentSettings) -> Recipe:
        """A student. It depends on a store by its digest, or on the teacher, or on neither.

        Neither: on hard labels alone. By its digest: a store that the settings name. And on the
        ensemble's hard labels, if it is trained on some.
        """
        inputs = {"corpus": self.corpus.fingerprint}
        if student.hard_weight < 1 and student.store is not None:
            inputs["store"] = self.stores.digest(student.store)
        elif student.hard_weight < 1:
            inputs["teacher"] = self.teacher.fingerprint
        if not student.labels.are_given:
            inputs["labels"] = self.labels.fingerprint
        return Recipe(
            stage="student",
            settings=student.identity(),
            inputs=inputs,
            shown_as=student.name or "",
        )

    def trunk(self, student: StudentSettings) -> Recipe:
        """The training of a student until its rate decays: students of other lengths share it.

        No student depends on it: each would be the same without.
        """
        whole = self.student(student)
        return replace(whole, stage="trunk", settings=student.trunk_identity())

    def shorter_trunk(self, trunk: Recipe) -> Recipe | None:
        """The longest trunk here that is the beginning of this one."""
        found = [
            made
            for made in self._shelf.found("trunk")
            if made.inputs == trunk.inputs
            and {**made.settings, "until": trunk.settings["until"]} == trunk.settings
            and made.settings["until"] < trunk.settings["until"]
        ]
        return max(found, key=lambda made: float(made.settings["until"]), default=None)

    @cached_property
    def students(self) -> tuple[Recipe, ...]:
        """All students of the settings, without duplicates."""
        recipes = map(self.student, self._settings.students)
        return tuple({recipe.fingerprint: recipe for recipe in recipes}.values())

    def students_found(self) -> Iterator[Recipe]:
        """Students that are made: those of the settings, then all others of this corpus.

        Those whose settings this version cannot read are left out, with a note.
        """
        names = {recipe.fingerprint for recipe in self.students}
        yield from (recipe for recipe in self.students if self._shelf.is_fresh(recipe))
        for recipe in self._shelf.found("student"):
            same_corpus = recipe.inputs.get("corpus") == self.corpus.fingerprint
            if same_corpus and recipe.fingerprint not in names and self._is_readable(recipe):
                yield recipe

    def _is_readable(self, recipe: Recipe) -> bool:
        try:
            student_settings(recipe)
        except ValidationError as cause:
            first = cause.errors()[0]
            where = ".".join(map(str, first["loc"])) or "settings"
            self._shelf.leave_out(
                self._shelf.place(recipe),
                f"its settings are of another version ({where}: {first['msg']})",
            )
            return False
        return True

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
            inputs={
                "corpus": system.full_corpus or self.corpus.fingerprint,
                "system": system.fingerprint,
            },
            shown_as=system.name,
            remarks={"system": system.name},
        )

    def export(self, student: System, settings: Mapping[str, Any]) -> Recipe:
        """A student as a folder for deployment; its card has intervals as the report has them."""
        of_report = self._settings.report.model_dump(include={"bootstrap_samples", "seed"})
        return Recipe(
            stage="export",
            settings={"format": EXPORT_FORMAT, "intervals": of_report, **settings},
            inputs={
                "corpus": self.corpus.fingerprint,
                "student": student.fingerprint,
                "evaluation": self.evaluation(student).fingerprint,
            },
            shown_as=student.name,
            remarks={"system": student.name},
        )

    def exports(self, systems: Iterable[System]) -> dict[str, list[Recipe]]:
        """The exports of these systems that are here, of this corpus, by fingerprint of system."""
        exports: dict[str, list[Recipe]] = {system.fingerprint: [] for system in systems}
        for made in self._shelf.found("export"):
            if made.inputs.get("corpus") == self.corpus.fingerprint:
                exports.get(made.inputs.get("student", ""), []).append(made)
        return exports

    def dev_labels(self, system: System) -> Recipe | None:
        """The soft labels that a system is compared with: those that it learnt from, if any.

        Otherwise those of the teacher. None if they are not here, or there are none of dev.
        """
        wanted = system.teacher or self.teacher.fingerprint
        found = (made for made in self._shelf.found("teacher") if made.fingerprint == wanted)
        recipe = next(found, None)
        return recipe if recipe and self._has_dev(self._shelf.place(recipe)) else None

    def _has_dev(self, teacher: Path) -> bool:
        """Also if it is missing now and its record names it: that is an error where it is read."""
        files = read_record(teacher).files
        return DEV_STORE in files.data if files else (teacher / DEV_STORE).is_dir()

    def frames(self, system: System) -> Recipe:
        """Calibration and speed of a system on dev, and its distance to the soft labels."""
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
        """The page. The names of the systems count here, since they are printed on it."""
        inputs = {system.name: self.evaluation(system).fingerprint for system in systems}
        inputs |= {f"frames of {s.name}": self.frames(s).fingerprint for s in systems}
        exports = self.exports(systems).values()
        inputs |= {f"export {made.fingerprint}": made.fingerprint for made in chain(*exports)}
        return Recipe(
            stage="report",
            settings={"format": PAGE_FORMAT, **self._settings.report.identity()},
            inputs={"teacher": self.teacher.fingerprint, **inputs},
        )
