"""SweepGrid: which values a sweep tries, as the command line says them. Loads nothing slow."""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, kw_only=True)
class SweepGrid:
    """Values of each setting of `student`; an empty tuple means the one of the settings file."""

    k: tuple[int, ...] = ()
    hard_weight: tuple[float, ...] = ()
    tail: tuple[str, ...] = ()
    temperature: tuple[float, ...] = ()
    num_seeds: int = 1
    with_compared: bool = False  # and the students that `compare` lists, as they are there

    def changes(self) -> Iterator[dict[str, Any]]:
        """Changes to `student`: the product of all values."""
        axes = {
            "k": self.k,
            "hard_weight": self.hard_weight,
            "tail": self.tail,
            "temperature": self.temperature,
        }
        named = [[(name, value) for value in values] for name, values in axes.items() if values]
        yield from map(dict, itertools.product(*named))


class ListOf(click.ParamType):  # type: ignore[type-arg]  # generic in newer clicks only
    """Values with commas between them, each of `kind`, each once."""

    def __init__(self, kind: "click.ParamType[Any]", name: str) -> None:
        self._kind, self.name = kind, name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[Any, ...]:
        """The text 1,2,4 -> (1, 2, 4)."""
        if isinstance(value, tuple):
            return value
        parts = [self._kind.convert(part.strip(), param, ctx) for part in value.split(",")]
        if any(isinstance(part, float) and not math.isfinite(part) for part in parts):
            self.fail(f"found {value!r}, wanted finite numbers", param, ctx)
        return tuple(dict.fromkeys(parts))


class TailName(click.ParamType):  # type: ignore[type-arg]
    """The name of a tail policy."""

    name = "tail"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name itself, if it is one."""
        from typing import get_args

        from stages.student.targets import TailPolicy  # here: it loads torch

        return str(click.Choice(get_args(TailPolicy)).convert(value, param, ctx))


def with_grid(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command one option for each axis, and a SweepGrid made of them."""

    @click.option(
        "--k", type=ListOf(click.IntRange(1), "1,2,4"), default=(), help="Ranks to learn from."
    )
    @click.option(
        "--hard-weight",
        type=ListOf(click.FloatRange(0, 1), "0.2,0.5"),
        default=(),
        help="Weight of the hard labels; 1: hard labels alone.",
    )
    @click.option(
        "--tail",
        type=ListOf(TailName(), "renormalize,bucket"),
        metavar="renormalize,bucket",
        default=(),
        help="What becomes of the mass outside the k ranks: renormalize, bucket, uniform, truth, "
        "drop.",
    )
    @click.option(
        "--temperature",
        type=ListOf(click.FloatRange(0, min_open=True), "1,2"),
        default=(),
        help="Of the soft labels, among those that the teacher's stores have.",
    )
    @click.option(
        "--seeds",
        "num_seeds",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="How many seeds each setting is trained with, from student.training.seed on.",
    )
    @click.option(
        "--compare",
        "with_compared",
        is_flag=True,
        help="The students that the settings' `compare` lists as well, with as many seeds.",
    )
    @functools.wraps(command)
    def wrapped(
        *args: Any,
        k: tuple[int, ...],
        hard_weight: tuple[float, ...],
        tail: tuple[str, ...],
        temperature: tuple[float, ...],
        num_seeds: int,
        with_compared: bool,
        **others: Any,
    ) -> None:
        grid = SweepGrid(
            k=k,
            hard_weight=hard_weight,
            tail=tail,
            temperature=temperature,
            num_seeds=num_seeds,
            with_compared=with_compared,
        )
        command(*args, grid=grid, **others)

    return wrapped
