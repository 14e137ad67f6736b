"""grid, settings -> the students of a sweep, and the command that trains one of them alone."""

import itertools
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pipeline.errors import SettingsError
from pipeline.job import Job
from pipeline.settings.tree import with_changes
from pipeline.settings.wording import in_one_line, shortened, touches
from pipeline.settings.yaml_tree import parse_yaml
from pipeline.sweep.grid import Axis, SweepGrid
from pipeline.systems import differences, student_name
from stages.student.settings import StudentSettings
from storage.place.address import shown

BRANCH = "student."  # of the settings: what a sweep may vary
SEEDS = Axis("student.training.seed", "", "--seeds")
YAML_11_TEXT = re.compile(r"[-+]?\d+e[-+]?\d+", re.IGNORECASE)  # 1e-3: a number since YAML 1.2


def plan_sweep(job: Job, grid: SweepGrid) -> tuple[StudentSettings, ...]:
    """The students of a grid. Settings with the same recipe are one student.

    Raises:
        SettingsError: when a key is no setting of the student, or a value is not valid.
    """
    default = job.settings.student.model_dump(mode="json")
    planned: dict[str, StudentSettings] = {}
    for setting in _settings_of(job, grid):
        first_seed = setting.training.seed
        for seed in range(first_seed, first_seed + grid.num_seeds):
            student = _changed(setting, {"training": {"seed": seed}}, axes=[SEEDS])
            recipe = job.recipes.student(student)
            name = student_name(recipe.settings, default)
            planned.setdefault(recipe.fingerprint, student.model_copy(update={"name": name}))
    return tuple(planned.values())


def repeat_command(student: StudentSettings, default: StudentSettings) -> str:
    """The command that trains one student of a sweep alone; `default` is that of the settings."""
    found = student.model_dump(mode="json", exclude={"name"})
    unlike = differences(found, default.model_dump(mode="json"))
    changes = [f"student.{key}={_as_yaml(value)}" for key, value in unlike]
    return shlex.join(["essence", "student", *(w for change in changes for w in ("--set", change))])


def _as_yaml(value: Any) -> str:
    return shown(value) if isinstance(value, str) else json.dumps(value)


def _settings_of(job: Job, grid: SweepGrid) -> Iterator[StudentSettings]:
    """The product of the axes, then `compare`: each is trained with every seed."""
    for axis, other in itertools.combinations(grid.axes, 2):
        _refuse_overlap(axis, other)
    values = [[(axis.key, value) for value in _values(axis)] for axis in grid.axes]
    for combination in itertools.product(*values):
        change: dict[str, Any] = {}
        for key, value in combination:
            _nest(change, key.removeprefix(BRANCH), value)
        yield _changed(job.settings.student, change, axes=grid.axes)
    if grid.with_compared:
        yield from job.settings.students[1:]


def _refuse_overlap(axis: Axis, other: Axis) -> None:
    if touches(axis.key, other.key):
        raise SettingsError(
            f"{axis.option} {axis.key} and {other.option} {other.key} set the same: "
            "give all values with one of them"
        )


def _values(axis: Axis) -> list[Any]:
    """The values of an axis, read as the items of a YAML list."""
    if not axis.key.startswith(BRANCH):
        known = axis.key.partition(".")[0] in StudentSettings.model_fields
        hint = f"did you mean {BRANCH}{axis.key}?" if known else "such as student.k"
        raise SettingsError(f"{axis.option} {axis.key}: wanted a setting of the student: {hint}")
    where = f"{axis.option} {axis.key}: the list {shortened(axis.values)}"
    values = parse_yaml(f"[{axis.values}]", where=where)
    if not values:
        raise SettingsError(f"{where} is empty: wanted VALUE,VALUE,...")
    return [float(x) if isinstance(x, str) and YAML_11_TEXT.fullmatch(x) else x for x in values]


def _nest(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
    tree[last] = value


def _changed(
    student: StudentSettings, change: Mapping[str, Any], *, axes: Sequence[Axis]
) -> StudentSettings:
    weight = change.get("hard_weight", 1)
    if isinstance(weight, int | float) and weight < 1:
        # Smoothed labels are for students without a teacher, here as in the settings.
        change = {**change, "label_smoothing": 0.0}

    def given_by(place: str) -> str:
        return next((axis.option for axis in axes if touches(axis.key, place)), "sweep")

    try:
        return with_changes(student, change)
    except ValidationError as error:
        words = in_one_line(error, model=StudentSettings, given_by=given_by, below=("student",))
        raise SettingsError(words) from error
