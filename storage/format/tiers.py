"""Tiers: ranks are stored in groups 1 | 2-4 | 5-8 | 9-16 | 17-32 | ... up to K.

A reader of k ranks opens the first tiers only.
"""

from dataclasses import dataclass
from functools import cache

from storage.errors import StoreError


@dataclass(frozen=True, slots=True)
class Tier:
    """Ranks `first` to `last`, counted from 1, both inside."""

    first: int
    last: int

    @property
    def width(self) -> int:
        """How many ranks."""
        return self.last - self.first + 1

    @property
    def columns(self) -> slice:
        """The tier's columns in an array (frames, K)."""
        return slice(self.first - 1, self.last)


@cache
def plan_tiers(kept: int) -> tuple[Tier, ...]:
    """The tiers of a store of `kept` ranks; the last one may be narrower than its power of two."""
    assert kept >= 1
    tiers = [Tier(1, 1)]
    bound = 4
    while tiers[-1].last < kept:
        tiers.append(Tier(tiers[-1].last + 1, min(bound, kept)))
        bound *= 2
    return tuple(tiers)


def ranks_to_show(kept: int) -> tuple[int, ...]:
    """The k of tables, audits and pictures of a store of `kept` ranks: 1, 2, 4, 8, ... and K."""
    powers = [1 << power for power in range(kept.bit_length()) if 1 << power < kept]
    return (*powers, kept)


def tier_of(tiers: tuple[Tier, ...], k: int) -> int:
    """Index of the tier with rank k."""
    return next(index for index, tier in enumerate(tiers) if k <= tier.last)


def refuse_more_ranks(
    where: str, *, k: int, kept: int, cure: str = "ask for fewer, or name a store that keeps more"
) -> None:
    """Make sure that a reader of k ranks finds them among the `kept` ones of `where`.

    `cure` is what the error tells the user to do.

    Raises:
        StoreError: when k is larger, or less than 1.
    """
    if not 1 <= k <= kept:
        raise StoreError(f"{where} holds K={kept}, asked k={k}: {cure}")
