"""Several ensembles, recovery, Holm and non-inferiority, against enumeration of all draws."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.report.statistics.bootstrap import Bootstrap, Difference, Interval
from stages.report.statistics.design import Design
from stages.report.statistics.holm import holm
from stages.report.statistics.margin import Margin, judge
from tests.support.makers.scores import make_scored_split, make_speakers

SAMPLES = 40_000
WORDS = 20  # of each utterance
# errors of each run on three speakers, of one utterance each
RUNS = np.array([[2, 7, 1], [3, 5, 2], [6, 9, 4], [5, 8, 6]])
CROSSED = Design(("1", "2", "1", "2"), ("a", "a", "b", "b"))
NESTED = Design(("1", "2", "3", "4"), ("a", "a", "b", "b"))
HARD = np.array([[4, 9, 3], [3, 8, 5]])
FULL = np.array([[1, 5, 1], [2, 4, 0]])
OF_SEEDS = Design(("1", "2"), ("", ""))


def draws_of(runs, *, samples=SAMPLES):
    utterances = make_speakers(runs[0].tolist(), per_speaker=1)
    return Bootstrap(utterances, samples=samples, seed=1)


def pooled(draws, runs, design):
    splits = [make_scored_split(make_speakers(row.tolist(), per_speaker=1)) for row in runs]
    return draws.pool(splits, design)


def speaker_draws():
    return product(range(3), repeat=3)


def rate(runs, weights, speakers):
    """The mean over drawn runs of the errors on drawn speakers."""
    return sum(w * run[list(speakers)].sum() for w, run in zip(weights, runs, strict=True)) / 60


def assert_same_ends(found, every):
    """The ends lie between percentiles next to 2.5 and 97.5: there are few values, far apart."""
    for end, percentile in ((found.low, 2.5), (found.high, 97.5)):
        low = np.percentile(every, percentile - 0.5, method="lower")
        high = np.percentile(every, percentile + 0.5, method="higher")
        assert low - 1e-9 <= end <= high + 1e-9


def run_weights(design):
    """The weights of the runs in each equally likely draw of ensembles and seeds."""
    ensembles, seeds = sorted(set(design.ensembles)), sorted(set(design.seeds))
    for drawn in product(ensembles, repeat=len(ensembles)):
        if design.is_crossed:
            ways = [dict.fromkeys(ensembles, way) for way in product(seeds, repeat=len(seeds))]
        else:
            own = {
                e: [s for s, of in zip(design.seeds, design.ensembles, strict=True) if of == e]
                for e in ensembles
            }
            each = [list(product(own[e], repeat=len(own[e]))) for e in ensembles]
            ways = [dict(zip(ensembles, way, strict=True)) for way in product(*each)]
        for way in ways:
            yield [
                drawn.count(e) / len(ensembles) * way[e].count(s) / len(way[e])
                for s, e in zip(design.seeds, design.ensembles, strict=True)
            ]


@pytest.mark.parametrize("design", [CROSSED, NESTED], ids=["crossed", "nested"])
def test_intervals_over_ensembles_are_those_of_all_draws(design: Design) -> None:
    draws = draws_of(RUNS)
    found = draws.interval(pooled(draws, RUNS, design))
    every = [rate(RUNS, w, speakers) for w in run_weights(design) for speakers in speaker_draws()]
    assert_same_ends(found, every)
    assert draws.rate(pooled(draws, RUNS, design)) == pytest.approx(RUNS.sum(axis=1).mean() / 60)
    alone = draws.interval(pooled(draws, RUNS, Design.of_seeds(4)))
    assert found.high - found.low > alone.high - alone.low  # one teacher for all is one draw


def test_seeds_of_several_ensembles_are_paired_with_those_of_a_rival_without() -> None:
    draws = draws_of(RUNS)
    ours, theirs = pooled(draws, RUNS, CROSSED), pooled(draws, HARD, OF_SEEDS)
    found = draws.difference(ours, theirs, paired=True)
    every = []
    for seeds in product("12", repeat=2):
        hard = [seeds.count(s) / 2 for s in "12"]
        for ensembles in product("ab", repeat=2):
            mine = [
                ensembles.count(e) / 2 * seeds.count(s) / 2
                for s, e in zip(CROSSED.seeds, CROSSED.ensembles, strict=True)
            ]
            every += [rate(RUNS, mine, sp) - rate(HARD, hard, sp) for sp in speaker_draws()]
    assert_same_ends(found.interval, every)
    assert CROSSED.is_paired_with(OF_SEEDS)
    assert not NESTED.is_paired_with(OF_SEEDS)


def test_same_ensembles_are_drawn_together() -> None:
    draws = draws_of(RUNS, samples=500)
    same = draws.difference(pooled(draws, RUNS, CROSSED), pooled(draws, RUNS, CROSSED), paired=True)
    assert same.interval == Interval(0.0, 0.0)
    others = Design(CROSSED.seeds, ("c", "c", "d", "d"))
    apart = draws.difference(pooled(draws, RUNS, CROSSED), pooled(draws, RUNS, others), paired=True)
    assert apart.interval.low < 0 < apart.interval.high


def test_recovery_is_the_ratio_of_two_gains_on_the_same_draws() -> None:
    system = np.array([[2, 7, 2], [2, 6, 3]])
    draws = draws_of(system)
    found = draws.recovery(*(pooled(draws, runs, OF_SEEDS) for runs in (system, HARD, FULL)))
    every = []
    for seeds in product("12", repeat=2):
        w = [seeds.count(s) / 2 for s in "12"]
        for sp in speaker_draws():
            hard = rate(HARD, w, sp)
            every.append((hard - rate(system, w, sp)) / (hard - rate(FULL, w, sp)))
    assert found is not None
    assert found.interval is not None
    gained, whole = HARD.sum() - system.sum(), HARD.sum() - FULL.sum()
    assert found.share == pytest.approx(gained / whole)
    assert_same_ends(found.interval, every)


def test_recovery_of_nothing_has_no_value_and_of_little_no_bounds() -> None:
    draws = draws_of(HARD)
    hard, full = pooled(draws, HARD, OF_SEEDS), pooled(draws, FULL, OF_SEEDS)
    assert draws.recovery(hard, full, hard) is None
    nearly = pooled(draws, np.add(HARD, [-2, 3, -2]), OF_SEEDS)
    found = draws.recovery(full, hard, nearly)
    assert found is not None
    assert found.interval is None


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_rejects_in_steps_until_one_is_not(p_values: dict[str, float]) -> None:
    adjusted = holm(p_values)
    assert adjusted.keys() == p_values.keys()
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
            if p_values[key] * (len(p_values) - rank) >= level:
                break
            rejected.add(key)
        assert {key for key, p in adjusted.items() if p < level} == rejected
    assert all(p_values[key] <= p <= 1 for key, p in adjusted.items())


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.01, 0.004), "non-inferior"),
        ((-0.02, -0.01), "non-inferior"),
        ((-0.01, 0.006), "undecided"),
        ((0.006, 0.02), "inferior"),
    ],
)
def test_margin_judges_the_whole_interval(interval: tuple[float, float], verdict: str) -> None:
    found = Difference(delta=0.0, interval=Interval(*interval), p=1.0, improvement=0.5)
    assert judge(found, Margin(0.5).of(0.1)) == verdict
    assert judge(found, Margin(5.0, "relative").of(0.1)) == verdict
