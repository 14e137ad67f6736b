"""Tune acoustic scale and insertion penalty: a search along one axis after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """What a decode is done with."""

    acoustic_scale: float
    insertion_penalty: float


def search(
    scales: Sequence[float],
    penalties: Sequence[float],
    errors_at: Callable[[Point], int],
) -> Point:
    """The point with the fewest errors on the search's way, the first found where several tie.

    Scales at the penalty nearest to zero, penalties at the best scale, then the two neighbouring
    scales once more: about len(scales) + len(penalties) decodes, not their product. No point is
    decoded twice.
    """
    found: dict[Point, int] = {}

    def best(points: Sequence[Point]) -> Point:
        for point in points:
            if point not in found:
                found[point] = errors_at(point)
        return min(points, key=lambda point: found[point])

    start = min(penalties, key=abs)
    scale = best([Point(scale, start) for scale in scales]).acoustic_scale
    penalty = best([Point(scale, penalty) for penalty in penalties]).insertion_penalty
    ordered = sorted(scales)
    at = ordered.index(scale)
    near = [scale, *ordered[max(0, at - 1) : at], *ordered[at + 1 : at + 2]]
    return best([Point(neighbour, penalty) for neighbour in near])
