"""Temperatures that a store can give: the one its labels are kept at, and those with a log norm.

A log norm for the exponent 1/t takes labels kept at temperature T to T t, exactly:
ln p_Tt(j) = ln p_T(j) / t - log_norm.
"""

from collections.abc import Sequence

from storage.errors import StoreError


def temperatures_given(kept_at: float, others: Sequence[float]) -> tuple[float, ...]:
    """All temperatures of labels kept at one of them, with log norms for `others`."""
    return tuple(kept_at * t for t in (1.0, *others))


def refuse_other_temperature(where: str, *, temperature: float, given: Sequence[float]) -> None:
    """Make sure that the soft labels of `where` can be given at a temperature.

    Raises:
        StoreError: naming those at which they can.
    """
    if temperature not in given:
        raise StoreError(
            f"{where} holds temperature {', '.join(f'{t:g}' for t in given)}, "
            f"asked {temperature:g}: set student.temperature to one of them, or run "
            "'essence teacher' with it among teacher.temperatures"
        )
