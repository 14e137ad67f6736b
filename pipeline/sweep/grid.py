"""SweepGrid: which settings of the student a sweep varies, as the command line gives them.

    --vary student.training.learning_rate=1e-3,3e-3     any setting of the student
    --k 1,2,4                                           short for --vary student.k=1,2,4

Loads nothing slow: values stay text until plan.py reads them.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click

# A short form names a setting of the student. What it is, and an example of its values.
SHORT_FORMS = {
    "--k": ("1,2,4", "Ranks to learn from."),
    "--hard-weight": ("0.2,0.5", "Weight of the hard labels; 1: hard labels alone."),
    "--tail": (
        "renormalize,bucket",
        "What becomes of the mass outside the k ranks: renormalize, bucket, uniform, truth, drop.",
    ),
    "--temperature": ("1,2", "Of the soft labels, among those that the teacher's stores have."),
}


@dataclass(frozen=True, slots=True)
class Axis:
    """One setting and its values, as text: `student.k` and `1,2,4`, given with `option`."""

    key: str
    values: str
    option: str = "--vary"


@dataclass(frozen=True, kw_only=True)
class SweepGrid:
    """The product of all axes; settings without an axis stay as in the settings file."""

    axes: tuple[Axis, ...] = ()
    num_seeds: int = 1  # from student.training.seed on
    with_compared: bool = False  # also the students that `compare` lists


class VaryOption(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """KEY=VALUE,VALUE,... of one setting."""

    name = "vary"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Axis:
        """The text student.k=1,2 -> its axis."""
        key, separator, values = str(value).partition("=")
        if not separator or not key.strip():
            self.fail(f"found {value!r}, wanted KEY=VALUE,VALUE", param, ctx)
        return Axis(key.strip(), values)


def with_grid(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a grid, and a SweepGrid made of them."""

    @click.option(
        "--vary",
        type=VaryOption(),
        metavar="KEY=V1,V2,...",
        multiple=True,
        help="Values of any setting of the student. May be repeated: all combinations are trained.",
    )
    @click.option(
        "--seeds",
        "num_seeds",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Seeds that each setting is trained with, from student.training.seed on.",
    )
    @click.option(
        "--compare",
        "with_compared",
        is_flag=True,
        help="The students that the settings' `compare` lists as well, with as many seeds.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any, vary: tuple[Axis, ...], num_seeds: int, with_compared: bool, **others: Any
    ) -> None:
        axes = (*_short_axes(others), *vary)
        grid = SweepGrid(axes=axes, num_seeds=num_seeds, with_compared=with_compared)
        command(*args, grid=grid, **others)

    for option, (example, text) in reversed(SHORT_FORMS.items()):
        wrapped = click.option(option, metavar=example, help=text)(wrapped)
    return wrapped


def _short_axes(options: dict[str, Any]) -> Iterator[Axis]:
    """Take the short forms out of the options of a command."""
    for option in SHORT_FORMS:
        name = option.removeprefix("--").replace("-", "_")
        values = options.pop(name)
        if values is not None:
            yield Axis(f"student.{name}", values, option)
