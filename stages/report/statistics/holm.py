"""Holm's correction of the p-values of one family of comparisons."""

from collections.abc import Mapping


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values: below a level for those that Holm (1979) rejects at that level.

    The i-th smallest of n is multiplied by n - i + 1; none is smaller than one before it.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        largest = max(largest, min(1.0, p_values[key] * (len(p_values) - rank)))
        adjusted[key] = largest
    return adjusted
