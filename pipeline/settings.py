"""Settings: pipeline.yaml and --set -> one checked, frozen tree; each stage owns its branch."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from pipeline.errors import SettingsError
from pipeline.setting_errors import Sources, in_words, short
from stages.acoustic.models.architectures import BUILT_IN
from stages.contract.settings import Settings
from stages.corpus.settings import CorpusSettings
from stages.ensemble.settings import EnsembleSettings
from stages.evaluate.settings import EvaluateSettings
from stages.report.settings import ReportSettings
from stages.student.settings import StudentSettings
from stages.teacher.settings import TeacherSettings

DEFAULT_CONFIG = Path("pipeline.yaml")
RESERVED_NAMES = {"ensemble", "teacher"}  # what the tables and the report call their own
NO_COPIES = "corpus.copies lists no copy with 'train' among its splits: list one"


class PipelineSettings(Settings):
    """The whole of pipeline.yaml. `compare` lists changes to `student`: more students to train."""

    work_dir: Path = Path("work")
    device: str = Field("cpu", pattern=r"^(cpu|cuda(:\d+)?|mps)$")
    corpus: CorpusSettings = CorpusSettings()
    ensemble: EnsembleSettings = EnsembleSettings()
    teacher: TeacherSettings = TeacherSettings()
    student: StudentSettings = StudentSettings()
    compare: tuple[dict[str, Any], ...] = ()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()

    @cached_property
    def students(self) -> tuple[StudentSettings, ...]:
        """`student`, then every change to it that `compare` lists; each once."""
        changed = [_compared(self.student, change) for change in self.compare]
        return tuple(dict.fromkeys([self.student, *changed]))

    @property
    def own_architectures(self) -> frozenset[str]:
        """The user's own code that these settings name: it may be run."""
        students = (student.architecture for student in self.students)
        of_students = frozenset(each.kind for each in students if each.is_own)
        of_members = (member.own_architectures() for member in self.ensemble.members)
        return of_students.union(*of_members)

    @property
    def needs_teacher(self) -> bool:
        """Not where all soft labels come from stores that are named."""
        taught = [student for student in self.students if student.hard_weight < 1]
        is_named = [student.store is not None for student in taught]
        return not is_named or not all(is_named)


def read_settings(config: Path | None, changes: Sequence[str] = ()) -> PipelineSettings:
    """Read `config` (or pipeline.yaml here, or nothing) and apply `key=value` changes.

    Raises:
        SettingsError: naming the key, what was found and what was wanted.
    """
    source = config or DEFAULT_CONFIG
    tree = _read_yaml(source) if config or os.path.lexists(source) else {}
    for change in changes:
        _apply(tree, change)
    sources = Sources(source, changes)
    try:
        settings = PipelineSettings.model_validate(tree)
    except ValidationError as error:
        raise SettingsError(in_words(error, sources, model=PipelineSettings)) from error
    # What is wrong with a student or fits no other branch is said here, not after hours of a run.
    for number, compared in enumerate(settings.compare):
        try:
            _compared(settings.student, compared)
        except ValidationError as error:
            below = ("compare", number)
            words = in_words(error, sources, model=StudentSettings, below=below)
            raise SettingsError(words) from error
    for misfit in _misfits(settings):
        raise SettingsError(f"{source}: {misfit}")
    return settings


class _OneKeyLoader(yaml.SafeLoader):
    """A safe loader that refuses a key that comes twice: YAML would take the last in silence."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} comes twice: keep one",
                    problem_mark=key.start_mark,
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return node


def _parse_yaml(text: str, *, where: str) -> Any:
    try:
        return _OneKeyLoader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as cause:  # a date, a number; depth
        raise SettingsError(f"{where} is not YAML: {' '.join(str(cause).split())}") from cause


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as cause:
        raise SettingsError(f"{path} cannot be read: {cause.strerror}") from cause
    except UnicodeDecodeError as cause:
        raise SettingsError(f"{path} is not YAML: it is not UTF-8 text ({cause})") from cause
    tree = _parse_yaml(text, where=str(path))
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: wanted 'key: value' lines, found {type(tree).__name__}")
    return tree


def _apply(tree: dict[str, Any], change: str) -> None:
    key, separator, text = change.partition("=")
    if not separator or not all(part.strip() for part in key.split(".")):
        raise SettingsError(f"--set {change}: wanted key=value, as in --set student.k=4")
    value = _parse_yaml(text, where=f"--set {key}: the value {short(text)}")
    *parents, last = key.strip().split(".")
    node: Any = tree
    for parent in parents:
        node = _step(node, parent, change=change)
    _store(node, last, value, change=change)


def _step(node: Any, name: str, *, change: str) -> Any:
    if isinstance(node, list):
        return node[_position(node, name, change=change)]
    if node.get(name) is None:
        node[name] = {}
    child = node[name]
    if not isinstance(child, dict | list):
        raise SettingsError(f"--set {change}: {name} is a value, it has no settings below it")
    return child


def _store(node: Any, name: str, value: Any, *, change: str) -> None:
    if isinstance(node, list):
        node[_position(node, name, change=change)] = value
    else:
        node[name] = value


def _position(items: list[Any], name: str, *, change: str) -> int:
    if not name.isdecimal() or int(name) >= len(items):
        raise SettingsError(f"--set {change}: {name} is not a place in a list of {len(items)}")
    return int(name)


def with_changes(student: StudentSettings, changes: Mapping[str, Any]) -> StudentSettings:
    """`student` with some settings changed; a mapping changes what it names, however deep.

    Raises:
        ValidationError: where a value is none of this setting's.
    """
    tree = student.model_dump()
    _merge(tree, changes)
    return StudentSettings.model_validate(tree)


def _compared(student: StudentSettings, changes: Mapping[str, Any]) -> StudentSettings:
    """A student of `compare`; the name of `student` is not its."""
    return with_changes(student, {"name": None, **changes})


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        known = tree.get(key)
        if isinstance(value, Mapping) and isinstance(known, dict) and not _replaces(known, value):
            _merge(known, value)
        else:
            tree[key] = value


def _replaces(known: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
    """Another kind of architecture has other options, where one of the two is the user's own."""
    kinds = {known.get("kind"), value.get("kind", known.get("kind"))}
    return len(kinds) > 1 and not kinds <= set(BUILT_IN)


def _misfits(settings: PipelineSettings) -> Iterator[str]:
    """What no branch can see alone: a student that its teacher cannot teach, a name used twice."""
    teacher, members = settings.teacher, settings.ensemble.members
    if teacher.weights is not None and len(teacher.weights) != len(members):
        yield (
            f"teacher.weights has {len(teacher.weights)} weights, ensemble.members "
            f"{len(members)} members: give one weight for each"
        )
    has_copies = any("train" in copy.splits for copy in settings.corpus.copies)
    if teacher.input == "original" and not has_copies:
        yield f"teacher.input is 'original' and {NO_COPIES}, or set it to 'copy'"
    names = {member.name for member in members}
    for name in sorted(names & RESERVED_NAMES):
        yield f"ensemble.members: {name!r} is a name of our own: call the member otherwise"
    for student in settings.students:
        if student.name in names | RESERVED_NAMES:
            yield f"student.name: {student.name!r} is taken: call the student otherwise"
        if student.training.utterances != "all" and not has_copies:
            yield (
                f"student.training.utterances is {student.training.utterances!r} and {NO_COPIES}, "
                "or set it to 'all'"
            )
        yield from _misfits_of(student, teacher)


def refuse_misfits(settings: PipelineSettings, students: Iterable[StudentSettings]) -> None:
    """Make sure that the teacher of the settings can teach these students.

    Raises:
        SettingsError: naming the first that it cannot.
    """
    for student in students:
        for misfit in _misfits_of(student, settings.teacher):
            raise SettingsError(misfit)


def _misfits_of(student: StudentSettings, teacher: TeacherSettings) -> Iterator[str]:
    if student.hard_weight == 1 or student.store is not None:
        return
    if student.k > teacher.kept:
        yield (
            f"a student wants k={student.k} ranks, teacher.kept is K={teacher.kept}: "
            "lower k, or keep more"
        )
    given = [teacher.temperature * t for t in (1.0, *teacher.temperatures)]
    if student.temperature not in given:
        yield (
            f"a student wants soft labels at temperature {student.temperature:g}, "
            f"the teacher gives {', '.join(f'{t:g}' for t in given)}: choose one of them, or add "
            "to teacher.temperatures and run 'essence teacher'"
        )
    if "train" not in teacher.splits:
        yield f"teacher.splits is {list(teacher.splits)}: students learn from 'train', add it"
