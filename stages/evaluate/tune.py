"""Tune acoustic scale and insertion penalty: downhill on their grid."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """What a decode is done with."""

    acoustic_scale: float
    insertion_penalty: float


def search(
    scales: Sequence[float], penalties: Sequence[float], errors_at: Callable[[Point], int]
) -> Point:
    """A point of the grid with fewer errors than all beside it, the first found of several.

    From the middle scale and the penalty nearest zero to the best of the four neighbours, as long
    as that has fewer errors: five to ten decodes instead of all. No point is decoded twice. Errors
    fall and rise once along either axis, save for noise of a few words.
    """
    scales, penalties = sorted(set(scales)), sorted(set(penalties))
    found: dict[tuple[int, int], int] = {}

    def errors(at: tuple[int, int]) -> int:
        if at not in found:
            found[at] = errors_at(Point(scales[at[0]], penalties[at[1]]))
        return found[at]

    here = (len(scales) // 2, min(range(len(penalties)), key=lambda i: abs(penalties[i])))
    while True:
        i, j = here
        beside = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        on_grid = [
            (s, p) for s, p in beside if s in range(len(scales)) and p in range(len(penalties))
        ]
        best = min([here, *on_grid], key=errors)
        if best == here:
            return Point(scales[i], penalties[j])
        here = best


def describe_edges(
    point: Point, scales: Sequence[float], penalties: Sequence[float]
) -> Iterator[str]:
    """Where the point lies on the edge of its grid, so that a better one may lie beyond."""
    for name, value, grid in (
        ("acoustic_scales", point.acoustic_scale, scales),
        ("insertion_penalties", point.insertion_penalty, penalties),
    ):
        if len(set(grid)) > 1 and value in (min(grid), max(grid)):
            end = "lowest" if value == min(grid) else "highest"
            yield f"{value:g} is the {end} of evaluate.{name}: a better one may lie beyond"
