"""Tiers: every rank lies in exactly one."""

import pytest

from storage.format.tiers import Tier, plan_tiers, ranks_to_show, tier_of


@pytest.mark.parametrize(
    ("kept", "bounds"),
    [
        (1, [(1, 1)]),
        (2, [(1, 1), (2, 2)]),
        (4, [(1, 1), (2, 4)]),
        (7, [(1, 1), (2, 4), (5, 7)]),
        (32, [(1, 1), (2, 4), (5, 8), (9, 16), (17, 32)]),
        (65, [(1, 1), (2, 4), (5, 8), (9, 16), (17, 32), (33, 64), (65, 65)]),
    ],
)
def test_tiers_are_those_of_the_format(kept: int, bounds: list[tuple[int, int]]) -> None:
    assert plan_tiers(kept) == tuple(Tier(*bound) for bound in bounds)


@pytest.mark.parametrize("kept", range(1, 70))
def test_tiers_contain_every_rank_once(kept: int) -> None:
    tiers = plan_tiers(kept)
    ranks = [rank for tier in tiers for rank in range(tier.first, tier.last + 1)]
    assert ranks == list(range(1, kept + 1))
    assert sum(tier.width for tier in tiers) == kept
    for rank in ranks:
        tier = tiers[tier_of(tiers, rank)]
        assert tier.first <= rank <= tier.last
        assert rank - 1 in range(kept)[tier.columns]


def test_ranks_to_show_are_powers_of_two_and_all() -> None:
    assert ranks_to_show(1) == (1,)
    assert ranks_to_show(8) == (1, 2, 4, 8)
    assert ranks_to_show(11) == (1, 2, 4, 8, 11)
