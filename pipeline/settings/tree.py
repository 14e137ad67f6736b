"""PipelineSettings: the whole of pipeline.yaml. Each stage declares its own branch."""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from stages.acoustic.models.settings import BUILT_IN
from stages.contract.settings import Settings
from stages.corpus.settings import CorpusSettings
from stages.ensemble.settings import EnsembleSettings
from stages.evaluate.settings import EvaluateSettings
from stages.report.settings import ReportSettings
from stages.student.settings import StudentSettings
from stages.teacher.settings import TeacherSettings

DEVICE = re.compile(r"cpu|cuda(:\d{1,3})?|mps", re.ASCII)
# The baseline on hard labels alone, the ensemble's best class alone, all that the teacher keeps.
DEFAULT_COMPARE: tuple[dict[str, Any], ...] = (
    {"hard_weight": 1.0, "training": {"equal_steps": True}},
    {"k": 1},
    {"k": 32},
)


class PipelineSettings(Settings):
    """The whole of pipeline.yaml. `compare` lists changes to `student`: more students to train."""

    work_dir: Path = Path("work")
    device: str = "cpu"
    # Of each model in training, on a CPU. Another number changes the last bits of the weights, so
    # it depends neither on the machine nor on how many models are trained side by side.
    threads: int = Field(1, ge=1, le=1024)
    corpus: CorpusSettings = CorpusSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    compare: tuple[dict[str, Any], ...] = DEFAULT_COMPARE
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, device: str) -> str:
        if not DEVICE.fullmatch(device):
            raise ValueError("wanted cpu, cuda, cuda:N or mps")
        return device

    @cached_property
    def students(self) -> tuple[StudentSettings, ...]:
        """`student`, then every change to it that `compare` lists; duplicates removed."""
        changed = [compared(self.student, change) for change in self.compare]
        return tuple(dict.fromkeys([self.student, *changed]))

    @property
    def own_architectures(self) -> frozenset[str]:
        """Factories of the user's own models that these settings name: they may be run."""
        students = (student.architecture for student in self.students)
        of_students = frozenset(each.kind for each in students if each.is_own)
        of_members = (member.own_architectures() for member in self.ensemble.members)
        return of_students.union(*of_members)

    @property
    def needs_teacher(self) -> bool:
        """False if all soft labels come from stores that the settings name."""
        taught = [student for student in self.students if student.hard_weight < 1]
        is_named = [student.store is not None for student in taught]
        return not is_named or not all(is_named)

    @property
    def needs_labels(self) -> bool:
        """Does a student ask for hard labels by the ensemble?"""
        return not all(student.labels.are_given for student in self.students)


def with_changes(student: StudentSettings, changes: Mapping[str, Any]) -> StudentSettings:
    """`student` with some settings changed. A nested mapping changes only the keys it has.

    Raises:
        ValidationError: when a key or a value is not valid.
    """
    tree = student.model_dump()
    _merge(tree, changes)
    return StudentSettings.model_validate(tree)


def compared(student: StudentSettings, changes: Mapping[str, Any]) -> StudentSettings:
    """A student of `compare`: `student` with changes, without its name."""
    return with_changes(student, {"name": None, **changes})


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        known = tree.get(key)
        if isinstance(value, Mapping) and isinstance(known, dict) and not _replaces(known, value):
            _merge(known, value)
        else:
            tree[key] = value


def _replaces(known: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Does `value` name another kind of architecture, one of the two being the user's own?

    Their options have different names, so that they are not merged.
    """
    kinds = {known.get("kind"), value.get("kind", known.get("kind"))}
    return len(kinds) > 1 and not kinds <= set(BUILT_IN)
