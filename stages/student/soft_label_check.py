"""Soft-label check: are the ranks and the temperature that a student reads among those kept?"""

from collections.abc import Sequence

from stages.student.settings import StudentSettings
from storage.format.temperatures import refuse_other_temperature
from storage.format.tiers import refuse_more_ranks


def check_soft_labels(
    settings: StudentSettings,
    *,
    where: str,
    kept: int,
    temperatures: Sequence[float],
    shallower: str = "lower student.k",
    deeper: str = "name a store that keeps more",
) -> None:
    """Make sure that soft labels of `kept` ranks at these temperatures are what a student reads.

    The only such check: of a store that is there, and of the one that a teacher is going to make.
    `shallower` is how to ask for fewer ranks, `deeper` how to get more.

    Raises:
        StoreError: when k or the temperature is not among them.
    """
    refuse_more_ranks(where, k=settings.k, kept=kept, cure=f"{shallower}, or {deeper}")
    refuse_other_temperature(where, temperature=settings.temperature, given=temperatures)
