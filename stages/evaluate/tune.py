"""Tune acoustic scale and insertion penalty: descent on their grid."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """Acoustic scale and insertion penalty of a decode."""

    acoustic_scale: float
    insertion_penalty: float


def search(
    scales: Sequence[float], penalties: Sequence[float], errors_at: Callable[[Point], int]
) -> Point:
    """A local minimum of the errors on the grid, the first that is found.

    Starts at the middle scale and the penalty closest to zero and moves to the best of the four
    neighbours as long as it has fewer errors: five to ten decodes instead of all. No point is
    decoded twice. Along either axis errors fall and then rise, except for noise of a few words.
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
        neighbours = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        on_grid = [
            (s, p) for s, p in neighbours if s in range(len(scales)) and p in range(len(penalties))
        ]
        best = min([here, *on_grid], key=errors)
        if best == here:
            return Point(scales[i], penalties[j])
        here = best


def describe_edges(
    point: Point, scales: Sequence[float], penalties: Sequence[float]
) -> Iterator[str]:
    """A message for each grid on whose edge the point lies: a better point may lie beyond."""
    for name, value, grid in (
        ("acoustic_scales", point.acoustic_scale, scales),
        ("insertion_penalties", point.insertion_penalty, penalties),
    ):
        if len(set(grid)) > 1 and value in (min(grid), max(grid)):
            end = "lowest" if value == min(grid) else "highest"
            yield f"{value:g} is the {end} of evaluate.{name}: a better one may lie beyond"
