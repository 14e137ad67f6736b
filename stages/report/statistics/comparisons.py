"""Comparisons: each group vs. hard labels and vs. the ensemble, on test; and as JSON."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stages.contract.results import SplitResult
from stages.report.ranking import word_error_rate
from stages.report.statistics.bootstrap import Bootstrap, Difference, Interval, PooledErrors
from stages.report.statistics.groups import (
    SystemGroup,
    baseline_of,
    best_on_dev,
    of_role,
)
from stages.report.statistics.matched_pairs import (
    MarkedSystem,
    MatchedPairs,
    mark_system,
    matched_pairs,
)

FORMAT = 1
LEVEL = 0.05  # of significance


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A group vs. a rival. `paired`: both have the same seeds, which are drawn together."""

    group: SystemGroup
    rival: SystemGroup
    paired: bool
    difference: Difference
    segments: MatchedPairs


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """All comparisons, by the key of the group; groups that cannot be compared are missing.

    `system_intervals` maps the fingerprint of a system, one seed of a group, to its interval.
    `chosen` is the group on soft labels that is best on dev: claims are about this group.
    """

    groups: tuple[SystemGroup, ...]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    system_intervals: Mapping[str, Interval] = field(default_factory=dict)
    to_hard: Mapping[str, Comparison] = field(default_factory=dict)
    to_ensemble: Mapping[str, Comparison] = field(default_factory=dict)
    chosen: SystemGroup | None = None
    num_units: int = 0
    units_are_speakers: bool = True
    samples: int = 0
    seed: int = 0

    @property
    def baseline(self) -> SystemGroup | None:
        """The group on hard labels that the chosen group is compared with."""
        return baseline_of(self.chosen, self.groups) if self.chosen else None

    @property
    def ensemble(self) -> SystemGroup | None:
        """The ensemble; None if it was not evaluated."""
        return best_on_dev(of_role(self.groups, "ensemble"))


def compare(groups: Sequence[SystemGroup], *, samples: int, seed: int) -> Comparisons:
    """The interval of each group, and its differences vs. baseline and ensemble.

    Raises:
        BadInput: if systems were not evaluated on the same utterances.
    """
    chosen = best_on_dev(of_role(groups, "soft-label student"))
    scored = [group for group in groups if all(map(_is_scored, group.splits("test")))]
    if not scored:
        return Comparisons(groups=tuple(groups), chosen=chosen)
    draws = Bootstrap(scored[0].first.test.utterances, samples=samples, seed=seed)
    comparer = _Comparer(draws, scored)
    return Comparisons(
        groups=tuple(groups),
        intervals={group.key: draws.interval(comparer.pooled[group.key]) for group in scored},
        system_intervals=dict(comparer.system_intervals()),
        to_hard=dict(comparer.against(lambda group: _hard_rival(group, chosen, scored))),
        to_ensemble=dict(comparer.against(lambda _: best_on_dev(of_role(scored, "ensemble")))),
        chosen=chosen,
        num_units=draws.num_units,
        units_are_speakers=draws.are_speakers,
        samples=samples,
        seed=seed,
    )


def _hard_rival(
    group: SystemGroup, chosen: SystemGroup | None, groups: Sequence[SystemGroup]
) -> SystemGroup | None:
    """The baseline of the same architecture; for members and ensemble, of the chosen group's."""
    own = group if group.first.system.kind == "student" else chosen
    return baseline_of(own, groups) if own else None


def _is_scored(split: SplitResult) -> bool:
    return bool(split.utterances) and word_error_rate(split) is not None


class _Comparer:
    """Compares groups whose errors were counted and aligned once."""

    def __init__(self, draws: Bootstrap, groups: Sequence[SystemGroup]) -> None:
        self._draws = draws
        self._groups = groups
        self.pooled: dict[str, PooledErrors] = {
            group.key: draws.pool(group.splits("test")) for group in groups
        }
        self._marked: dict[str, MarkedSystem] = {
            group.key: mark_system(group.splits("test")) for group in groups
        }

    def system_intervals(self) -> Iterator[tuple[str, Interval]]:
        """Fingerprint and interval of each seed by itself."""
        for result in (result for group in self._groups for result in group.results):
            yield result.system.fingerprint, self._draws.interval(self._draws.pool([result.test]))

    def against(
        self, rival_of: Callable[[SystemGroup], SystemGroup | None]
    ) -> Iterator[tuple[str, Comparison]]:
        """Key and comparison of each group that has a rival other than itself."""
        for group in self._groups:
            rival = rival_of(group)
            if rival is not None and rival.key != group.key:
                yield group.key, self._compare(group, rival)

    def _compare(self, group: SystemGroup, rival: SystemGroup) -> Comparison:
        paired = len(group.results) == len(rival.results) and group.seeds == rival.seeds
        return Comparison(
            group=group,
            rival=rival,
            paired=paired,
            difference=self._draws.difference(
                self.pooled[group.key], self.pooled[rival.key], paired=paired
            ),
            segments=matched_pairs(self._marked[group.key], self._marked[rival.key]),
        )


def as_json(comparisons: Comparisons) -> str:
    """comparisons.json: rates are fractions, `delta` is system minus rival."""
    document = {
        "format": f"essence comparisons {FORMAT}",
        "split": "test",
        "chosen_on_dev": comparisons.chosen.name if comparisons.chosen else None,
        "bootstrap": {
            "samples": comparisons.samples,
            "seed": comparisons.seed,
            "unit": "speaker" if comparisons.units_are_speakers else "utterance",
            "num_units": comparisons.num_units,
        },
        "groups": [_group_json(comparisons, group) for group in comparisons.groups],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _group_json(comparisons: Comparisons, group: SystemGroup) -> dict[str, Any]:
    interval = comparisons.intervals.get(group.key)
    return {
        "group": group.name,
        "role": group.role,
        "key": group.key,
        "k": group.k,
        "seeds": list(group.seeds),
        "fingerprints": [result.system.fingerprint for result in group.results],
        "wer_dev": group.word_error_rate("dev"),
        "wer_test": group.word_error_rate("test"),
        "wer_test_interval": [interval.low, interval.high] if interval else None,
        "wer_test_by_seed": [word_error_rate(split) for split in group.splits("test")],
        "against_hard_labels": _comparison_json(comparisons.to_hard.get(group.key)),
        "against_ensemble": _comparison_json(comparisons.to_ensemble.get(group.key)),
    }


def _comparison_json(comparison: Comparison | None) -> dict[str, Any] | None:
    if comparison is None:
        return None
    found, segments = comparison.difference, comparison.segments
    return {
        "rival": comparison.rival.name,
        "rival_key": comparison.rival.key,
        "seeds_paired": comparison.paired,
        "delta": found.delta,
        "interval": [found.interval.low, found.interval.high],
        "p_bootstrap": found.p,
        "probability_of_improvement": found.improvement,
        "p_mapsswe": segments.p,
        "mapsswe_segments": segments.num_segments,
        "mapsswe_z": segments.z,
    }
