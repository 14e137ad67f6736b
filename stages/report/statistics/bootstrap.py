"""Bootstrap: intervals and p-values of pooled word error rates, by resampling speakers and seeds.

Speakers are resampled, since the utterances of a speaker are not independent (Bisani and Ney 2004),
and seeds, since another training gives another student. Both are drawn at once, each with
replacement, and each pair of a drawn speaker and a drawn seed counts: Owen's "pigeonhole" bootstrap
(2007), whose intervals are conservative. All systems are measured on the same draws of speakers,
so that the difficulty of a speaker cancels in a difference. Students of several ensembles add a
third factor: ensembles are drawn as well, since one teacher for all seeds is one draw. It is the
one source of intervals: the terminal, the page and the data files read them here.

Shapes: B draws, N runs (one for each seed, or each seed of each ensemble), S speakers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput
from stages.contract.results import SplitResult, UtteranceResult
from stages.report.statistics.design import Design

INTERVAL = (2.5, 97.5)  # percentiles: 95 %
# Streams of random numbers: 0 speakers, 1 and 2 seeds, from here on ensembles, seeds within each.
ENSEMBLES = 1 << 40
WITHIN = 1 << 8


@dataclass(frozen=True, slots=True)
class Interval:
    """95 % interval of a rate, as fractions."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """System minus rival, as fractions: negative is better. `improvement` is a probability.

    `p` is two-sided: twice the smaller share of draws on either side of zero.
    """

    delta: float
    interval: Interval
    p: float
    improvement: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredShare:
    """Share of a gain; `interval` is None where it has no bounds."""

    share: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class PooledErrors:
    """Errors of each run on each speaker, in the order of the `Bootstrap`'s speakers."""

    errors_NS: NDArray[np.float64]
    design: Design


class Bootstrap:
    """Draws of the speakers of one test set, the same for all systems.

    If there is only one speaker, utterances are drawn.
    """

    def __init__(self, utterances: Sequence[UtteranceResult], *, samples: int, seed: int) -> None:
        self._rows = [(item.id, item.speaker, item.reference) for item in utterances]
        has_speakers = len({item.speaker for item in utterances}) > 1
        units = [item.speaker if has_speakers else item.id for item in utterances]
        numbers = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
        self._unit = np.array([numbers[unit] for unit in units], np.int64)
        self.num_units = len(numbers)
        self.are_speakers = has_speakers
        self._words_S = self._sum([item.words.reference_words for item in utterances])
        self._seed, self._samples = seed, samples
        self._drawn_BS = self._draw(self.num_units, stream=0)
        self._words_B = np.maximum(self._drawn_BS @ self._words_S, 1.0)

    def pool(self, splits: Sequence[SplitResult], design: Design | None = None) -> PooledErrors:
        """The errors of one system's runs; without a design each is a seed of its own.

        Raises:
            BadInput: if these are not the utterances that the draws were made from.
        """
        for split in splits:
            refuse_other_utterances(self._rows, split.utterances)
        errors = [self._sum([item.words.errors for item in part.utterances]) for part in splits]
        return PooledErrors(np.array(errors), design or Design.of_seeds(len(splits)))

    def rate(self, pooled: PooledErrors) -> float:
        """The word error rate, mean over the seeds."""
        return float(pooled.errors_NS.sum(axis=1).mean() / max(self._words_S.sum(), 1.0))

    def interval(self, pooled: PooledErrors) -> Interval:
        """95 % interval of the word error rate, over speakers and seeds."""
        return _interval(self._rates(pooled, stream=1))

    def difference(self, system: PooledErrors, rival: PooledErrors, *, paired: bool) -> Difference:
        """System minus rival. If `paired`, the same seeds of both are drawn together.

        So are ensembles, where both have the same ones.
        """
        assert not paired or system.design.is_paired_with(rival.design)
        delta_B = self._rates(system, stream=1) - self._rates(rival, stream=1 if paired else 2)
        below, above = float((delta_B < 0).mean()), float((delta_B > 0).mean())
        smaller_tail = 1.0 - max(below, above)  # ties count on both sides
        return Difference(
            delta=self.rate(system) - self.rate(rival),
            interval=_interval(delta_B),
            # Plus one: with a finite number of draws, a p-value of zero is not known.
            p=min(1.0, 2.0 * (smaller_tail * self._samples + 1) / (self._samples + 1)),
            improvement=below + (1.0 - below - above) / 2,
        )

    def recovery(
        self, system: PooledErrors, partly: PooledErrors, fully: PooledErrors
    ) -> "RecoveredShare | None":
        """(partly - system) / (partly - fully); None if `fully` makes as many errors as `partly`.

        Numerator and denominator are measured on the same draws. Without an interval where the
        denominator is not above zero in 97.5 % of the draws: the ratio then has no bounds.
        """
        whole = self.rate(partly) - self.rate(fully)
        if whole <= 0:
            return None
        partly_B = self._rates(partly, stream=1)
        gained_B, whole_B = (
            partly_B - self._rates(other, stream=1 if _may_pair(other, partly) else stream)
            for other, stream in ((system, 2), (fully, 3))
        )
        known = whole_B > 0
        is_bounded = known.mean() >= 1 - INTERVAL[0] / 100
        return RecoveredShare(
            share=(self.rate(partly) - self.rate(system)) / whole,
            interval=_interval(gained_B[known] / whole_B[known]) if is_bounded else None,
        )

    def _rates(self, pooled: PooledErrors, *, stream: int) -> NDArray[np.float64]:
        by_run_BN = self._drawn_BS @ pooled.errors_NS.T
        runs_BN = self._draw_runs(pooled.design, stream=stream)
        rates_B: NDArray[np.float64] = (by_run_BN * runs_BN).sum(axis=1) / self._words_B
        return rates_B

    def _draw_runs(self, design: Design, *, stream: int) -> NDArray[np.float64]:
        """The weight of each run in each draw; their sum is 1."""
        if design.num_ensembles == 1:
            return self._draw(design.num_runs, stream=stream) / design.num_runs
        ensembles_BE = self._draw(design.num_ensembles, stream=ENSEMBLES + design.key)
        weights_BN = ensembles_BE[:, design.ensemble_N] / design.num_ensembles
        if design.is_crossed:
            seeds_BS = self._draw(design.num_seeds, stream=stream)
            return weights_BN * seeds_BS[:, design.seed_N] / design.num_seeds
        for ensemble in range(design.num_ensembles):
            runs = np.flatnonzero(design.ensemble_N == ensemble)
            drawn = self._draw(len(runs), stream=WITHIN * (ensemble + 1) + stream)
            weights_BN[:, runs] *= drawn / len(runs)
        return weights_BN

    def _draw(self, num: int, *, stream: int) -> NDArray[np.float64]:
        """Counts of `num` items in B draws; the same `num` and stream give the same counts."""
        rng = np.random.default_rng([self._seed, stream, num])
        return rng.multinomial(num, [1 / num] * num, size=self._samples).astype(np.float64)

    def _sum(self, counts: Sequence[int]) -> NDArray[np.float64]:
        sums_S = np.bincount(self._unit, weights=counts, minlength=self.num_units)
        return sums_S.astype(np.float64)


def _may_pair(one: PooledErrors, other: PooledErrors) -> bool:
    return one.design.is_paired_with(other.design)


def refuse_other_utterances(
    rows: Sequence[tuple[str, str, str]], utterances: Sequence[UtteranceResult]
) -> None:
    """Check that two systems were evaluated on the same utterances, in the same order.

    Raises:
        BadInput: naming the first that differs.
    """
    found = [(item.id, item.speaker, item.reference) for item in utterances]
    if found == list(rows):
        return
    differing = next((i for i, (a, b) in enumerate(zip(rows, found, strict=False)) if a != b), None)
    if differing is None:
        what = f"{len(found)} utterances, wanted {len(rows)}"
    else:
        what = f"utterance {found[differing][0]!r}, wanted {rows[differing][0]!r} (text, speaker)"
    raise BadInput(
        f"two systems were not evaluated on the same utterances: found {what}: evaluate both on "
        "one corpus"
    )


def _interval(values_B: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values_B, INTERVAL)
    return Interval(float(low), float(high))
