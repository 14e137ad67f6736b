"""Makers of sweeps."""

from pipeline.sweep.grid import Axis, SweepGrid


def make_grid(*, num_seeds: int = 1, with_compared: bool = False, **values: str) -> SweepGrid:
    """The grid of `k="1,2", training__epochs="3,4"`."""
    axes = [Axis(f"student.{key.replace('__', '.')}", text) for key, text in values.items()]
    return SweepGrid(axes=tuple(axes), num_seeds=num_seeds, with_compared=with_compared)
