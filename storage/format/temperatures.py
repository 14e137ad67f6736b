"""Temperatures that a store can give: the one its labels are kept at, and those with a log norm.

A log norm for the exponent 1/t takes labels kept at temperature T to T t, exactly:
ln p_Tt(j) = ln p_T(j) / t - log_norm.
"""

from collections.abc import Sequence
from typing import Final

from storage.errors import StoreError

# Temperatures outside this range mean nothing: every distribution is one class, or uniform, to the
# last bit of the value code. Inside it, their decimal text is short and valid in an object's name.
SMALLEST_TEMPERATURE: Final = 1e-3
LARGEST_TEMPERATURE: Final = 1e3


def refuse_bad_temperatures(kept_at: float, others: Sequence[float]) -> None:
    """Make sure that labels can be kept at one temperature, with log norms for `others`.

    Raises:
        StoreError: when one is out of range, is 1, or is given twice.
    """
    for temperature in (kept_at, *others):
        if not SMALLEST_TEMPERATURE <= temperature <= LARGEST_TEMPERATURE:
            raise StoreError(
                f"temperature {temperature:g}: wanted {SMALLEST_TEMPERATURE:g} to "
                f"{LARGEST_TEMPERATURE:g}"
            )
    if len(set(others)) != len(others) or 1.0 in others:
        raise StoreError(f"temperatures {tuple(others)}: wanted each once, and none that is 1")


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
            f"asked {temperature:g}: set student.temperature to one of them, or take labels "
            "that were made with it among teacher.temperatures"
        )
