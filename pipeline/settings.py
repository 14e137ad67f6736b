"""Settings: pipeline.yaml and --set -> one checked, frozen tree; each stage owns its branch."""

import difflib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, ValidationError

from pipeline.errors import SettingsError
from stages.corpus.settings import CorpusSettings
from stages.ensemble.settings import EnsembleSettings
from stages.evaluate.settings import EvaluateSettings
from stages.report.settings import ReportSettings
from stages.speech.settings import Settings
from stages.student.settings import StudentSettings
from stages.teacher.settings import TeacherSettings

DEFAULT_CONFIG = Path("pipeline.yaml")


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
        changed = [_with_changes(self.student, change) for change in self.compare]
        return tuple(dict.fromkeys([self.student, *changed]))


def read_settings(config: Path | None, changes: Sequence[str] = ()) -> PipelineSettings:
    """Read `config` (or pipeline.yaml here, or nothing) and apply `key=value` changes.

    Raises:
        SettingsError: naming the key, what was found and what was wanted.
    """
    source = config or DEFAULT_CONFIG
    tree = _read_yaml(source) if config or source.is_file() else {}
    for change in changes:
        _apply(tree, change)
    try:
        settings = PipelineSettings.model_validate(tree)
        _ = settings.students  # a wrong `compare` is said here, not in the middle of a run
    except ValidationError as error:
        raise SettingsError(_in_words(error, source=str(source))) from error
    return settings


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as cause:
        raise SettingsError(f"{path} cannot be read: {cause.strerror}") from cause
    except (yaml.YAMLError, UnicodeDecodeError) as cause:
        where = " ".join(str(cause).split())
        raise SettingsError(f"{path} is not YAML: {where}") from cause
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: wanted 'key: value' lines, found {type(tree).__name__}")
    return tree


def _apply(tree: dict[str, Any], change: str) -> None:
    key, separator, text = change.partition("=")
    if not separator or not key.strip():
        raise SettingsError(f"--set {change}: wanted key=value, as in --set student.k=4")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as cause:
        raise SettingsError(f"--set {change}: the value is not YAML: {cause}") from cause
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


def _with_changes(student: StudentSettings, changes: Mapping[str, Any]) -> StudentSettings:
    tree = student.model_dump()
    _merge(tree, changes)
    return StudentSettings.model_validate(tree)


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _in_words(error: ValidationError, *, source: str) -> str:
    """The first finding, in one line: where, what was found, what was wanted."""
    finding = error.errors()[0]
    place = ".".join(str(part) for part in finding["loc"])
    if finding["type"] == "extra_forbidden":
        known = _names_beside(finding["loc"])
        near = difflib.get_close_matches(str(finding["loc"][-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        return f"{source}: {place} is not a setting: {hint}"
    wanted = str(finding["msg"]).removeprefix("Value error, ")
    found = finding["input"]
    found_text = f", found {found!r}" if not isinstance(found, dict | list | BaseModel) else ""
    return f"{source}: {place or 'settings'}: {wanted[0].lower()}{wanted[1:]}{found_text}"


def _names_beside(location: tuple[int | str, ...]) -> list[str]:
    """Names of the settings where an unknown key stands: by walking the models."""
    model: type[BaseModel] = PipelineSettings
    if len(location) == 1:  # a change in `compare` is checked as a student by itself
        return sorted({*PipelineSettings.model_fields, *StudentSettings.model_fields})
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        model = _model_in(field.annotation, otherwise=model) if field else model
    return sorted(model.model_fields)


def _model_in(annotation: Any, *, otherwise: type[BaseModel]) -> type[BaseModel]:
    """The model in `Model`, `tuple[Model, ...]` or `Model | None`."""
    for inner in (annotation, *getattr(annotation, "__args__", ())):
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            return inner
    return otherwise
