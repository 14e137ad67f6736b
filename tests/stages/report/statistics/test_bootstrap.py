"""Intervals, p-values and probabilities of improvement compared with an exact bootstrap."""

from itertools import product

import numpy as np
import pytest

from stages.contract.errors import BadInput
from stages.report.statistics.bootstrap import Bootstrap
from tests.support.makers.scores import make_counted, make_scored_split, make_speakers

SAMPLES = 20_000


def differ(ours, theirs, *, paired=True, samples=SAMPLES, seed=1):
    """Compare two systems; each argument lists the utterances of every seed."""
    draws = Bootstrap(ours[0], samples=samples, seed=seed)
    one, other = (draws.pool([make_scored_split(part) for part in side]) for side in (ours, theirs))
    return draws.difference(one, other, paired=paired)


def every_difference(ours_NS, theirs_NS, words_S, *, paired):
    """The difference in all S^S draws of speakers and N^N draws of seeds: the exact bootstrap."""
    num_speakers = len(words_S)
    found = []
    for speakers in product(range(num_speakers), repeat=num_speakers):
        words = sum(words_S[s] for s in speakers)
        ours_N = [sum(row[s] for s in speakers) / words for row in ours_NS]
        theirs_N = [sum(row[s] for s in speakers) / words for row in theirs_NS]
        draws_of_seeds = list(product(range(len(ours_NS)), repeat=len(ours_NS)))
        for mine in draws_of_seeds:
            others = [mine] if paired else product(range(len(theirs_NS)), repeat=len(theirs_NS))
            mean = sum(ours_N[i] for i in mine) / len(mine)
            found += [mean - sum(theirs_N[i] for i in other) / len(other) for other in others]
    return np.array(found)


OURS = [[2, 7, 1, 4], [3, 5, 2, 2]]
THEIRS = [[3, 6, 4, 5], [2, 8, 2, 3]]
ALONE = [[3, 6, 2, 4]]


@pytest.mark.parametrize(("theirs", "paired"), [(THEIRS, True), (THEIRS, False), (ALONE, False)])
def test_differences_match_the_exact_bootstrap(theirs, paired):
    per_speaker = 2
    exact = every_difference(OURS, theirs, [20] * 4, paired=paired)
    found = differ(
        [make_speakers(row, per_speaker=per_speaker) for row in OURS],
        [make_speakers(row, per_speaker=per_speaker) for row in theirs],
        paired=paired,
    )
    assert found.delta == pytest.approx(np.mean(OURS) / 20 - np.mean(theirs) / 20)
    low, high = np.percentile(exact, [2.5, 97.5])
    assert found.interval.low == pytest.approx(low, abs=0.004)
    assert found.interval.high == pytest.approx(high, abs=0.004)
    tail = min((exact <= 1e-12).mean(), (exact >= -1e-12).mean())
    assert found.p == pytest.approx(min(1, 2 * tail), abs=0.02)
    improvement = (exact < -1e-12).mean() + (abs(exact) <= 1e-12).mean() / 2
    assert found.improvement == pytest.approx(improvement, abs=0.01)


def test_speakers_are_weighted_by_their_words():
    rows = [("a", 3, 60), ("b", 9, 20), ("c", 1, 40)]
    utterances = [make_counted(id, id, errors=errors, words=words) for id, errors, words in rows]
    draws = Bootstrap(utterances, samples=SAMPLES, seed=1)
    pooled = draws.pool([make_scored_split(utterances)])
    assert draws.rate(pooled) == pytest.approx(13 / 120)
    found = draws.interval(pooled)
    # One draw in 27 is of c alone and one of b alone: more than 2.5 %, so these are the ends.
    assert (found.low, found.high) == pytest.approx((1 / 40, 9 / 20))


def test_interval_is_the_spread_of_means_over_drawn_speakers():
    rates = [1, 2, 2, 3, 5, 8, 2, 1, 4, 3, 2]
    utterances = make_speakers(rates, per_speaker=3)
    draws = Bootstrap(utterances, samples=SAMPLES, seed=1)
    found = draws.interval(draws.pool([make_scored_split(utterances)]))
    rng = np.random.default_rng(99)
    means = [rng.choice(rates, size=len(rates)).mean() / 20 for _ in range(SAMPLES)]
    wanted = np.percentile(means, [2.5, 97.5])
    assert (found.low, found.high) == pytest.approx(tuple(wanted), abs=0.003)


def test_utterances_of_a_speaker_are_drawn_together():
    few, many = (
        differ(
            [make_speakers([1, 9, 3, 5], per_speaker=n)],
            [make_speakers([2, 7, 4, 6], per_speaker=n)],
        )
        for n in (1, 30)
    )
    assert few == many


def test_difference_of_a_system_with_itself_is_zero():
    seeds = [make_speakers(row) for row in OURS]
    found = differ(seeds, seeds)
    assert (found.delta, found.interval.low, found.interval.high) == (0, 0, 0)
    assert found.p == 1
    assert found.improvement == 0.5


def test_difference_without_errors_has_p_of_one():
    perfect = [make_speakers([0, 0, 0])]
    assert differ(perfect, perfect).p == 1


def test_difference_of_all_speakers_has_the_smallest_p():
    found = differ([make_speakers([1, 2, 3])], [make_speakers([4, 5, 6])], samples=999)
    assert found.p == pytest.approx(2 / 1000)
    assert found.improvement == 1
    assert found.interval.high < 0
    back = differ([make_speakers([4, 5, 6])], [make_speakers([1, 2, 3])], samples=999)
    assert (back.p, back.improvement) == (found.p, 0)
    assert back.interval.low == -found.interval.high


def test_utterances_are_drawn_if_there_is_one_speaker():
    def alone(errors):
        return [make_counted(str(i), "s", errors=count) for i, count in enumerate(errors)]

    draws = Bootstrap(alone([1, 9, 3]), samples=500, seed=1)
    assert not draws.are_speakers
    assert draws.num_units == 3
    found = draws.interval(draws.pool([make_scored_split(alone([1, 9, 3]))]))
    assert found.low < 13 / 60 < found.high


def test_paired_seeds_vary_together():
    ours, theirs = [[1, 1], [8, 8]], [[2, 2], [9, 9]]
    both = [[make_speakers(row) for row in side] for side in (ours, theirs)]
    assert differ(*both, paired=True).interval.high == pytest.approx(-1 / 20)
    assert differ(*both, paired=False).interval.high > 0.1


def test_seeds_widen_the_interval():
    alike, unlike = [[4, 6, 5]] * 4, [[1, 3, 2], [7, 9, 8], [1, 3, 2], [7, 9, 8]]
    widths = []
    for side in (alike, unlike):
        seeds = [make_speakers(row) for row in side]
        draws = Bootstrap(seeds[0], samples=4000, seed=1)
        found = draws.interval(draws.pool([make_scored_split(part) for part in seeds]))
        widths.append(found.high - found.low)
    assert widths[1] > 2 * widths[0]


def test_draws_depend_on_the_seed():
    sides = [make_speakers([1, 5, 3, 8, 2])], [make_speakers([2, 4, 4, 6, 2])]
    assert differ(*sides, samples=300, seed=3) == differ(*sides, samples=300, seed=3)
    assert differ(*sides, samples=300, seed=3) != differ(*sides, samples=300, seed=4)


@pytest.mark.parametrize("change", [{"id": "x"}, {"speaker": "x"}, {"reference": "another text"}])
def test_other_utterances_are_refused(change):
    utterances = make_speakers([1, 2, 3])
    draws = Bootstrap(utterances, samples=100, seed=1)
    other = [utterances[0], utterances[1].model_copy(update=change), utterances[2]]
    with pytest.raises(BadInput, match="not evaluated on the same utterances"):
        draws.pool([make_scored_split(utterances), make_scored_split(other)])


def test_fewer_utterances_are_refused():
    utterances = make_speakers([1, 2, 3])
    draws = Bootstrap(utterances, samples=100, seed=1)
    with pytest.raises(BadInput, match="found 2 utterances, wanted 3"):
        draws.pool([make_scored_split(utterances[:2])])
