"""Comparisons: each group vs. hard labels and vs. the ensemble, on test."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from stages.contract.results import SplitResult
from stages.report.ranking import word_error_rate
from stages.report.statistics.bootstrap import Bootstrap, Interval, PooledErrors
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.curves import curves_of, equally_long
from stages.report.statistics.groups import (
    SystemGroup,
    baseline_of,
    best_on_dev,
    fully_transcribed_of,
    of_role,
)
from stages.report.statistics.holm import holm
from stages.report.statistics.matched_pairs import (
    MarkedSystem,
    mark_system,
    matched_pairs,
)
from stages.report.statistics.planned import Planned, run_plan

LEVEL = 0.05  # of significance


@dataclass(frozen=True, slots=True)
class Recovery:
    """WER recovery: the share of what transcripts of all speech would gain.

    (partly - group) / (partly - fully), where both rivals learn from hard labels alone, `fully`
    from those of all speech. `interval` is None where the ratio has no bounds.
    """

    share: float
    interval: Interval | None
    partly: SystemGroup
    fully: SystemGroup


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """All comparisons, by the key of the group; groups that cannot be compared are missing.

    `system_intervals` maps the fingerprint of a system, one seed of a group, to its interval.
    `to_equally_long` compares groups on a trunk with hard labels after as many steps.
    `holm_to_hard` has the p-values of the bootstrap vs. hard labels after Holm's correction; its
    family are all groups on soft labels that have a baseline. `recoveries` exist if students on
    hard labels of all speech were evaluated. `planned` are those of the settings, in their order.
    `chosen` is the group on soft labels that is best on dev: claims are about this group.
    """

    groups: tuple[SystemGroup, ...]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    system_intervals: Mapping[str, Interval] = field(default_factory=dict)
    to_hard: Mapping[str, Comparison] = field(default_factory=dict)
    to_ensemble: Mapping[str, Comparison] = field(default_factory=dict)
    to_equally_long: Mapping[str, Comparison] = field(default_factory=dict)
    holm_to_hard: Mapping[str, float] = field(default_factory=dict)
    recoveries: Mapping[str, Recovery] = field(default_factory=dict)
    chosen: SystemGroup | None = None
    planned: tuple[Planned, ...] = ()
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


def compare(
    groups: Sequence[SystemGroup],
    *,
    samples: int,
    seed: int,
    labelled_share: float = 1.0,
    plan: Sequence[tuple[str, str]] = (),
) -> Comparisons:
    """The interval of each group, and its differences vs. baseline and ensemble.

    `labelled_share` of the training frames are in an epoch of students on hard labels. `plan` has
    the names of a system and its rival for each comparison that was planned.

    Raises:
        BadInput: if systems were not evaluated on the same utterances.
    """
    chosen = best_on_dev(of_role(groups, "soft-label student"))
    scored = _comparable([g for g in groups if all(map(_is_scored, g.splits("test")))])
    if not scored:
        return Comparisons(groups=tuple(groups), chosen=chosen)
    draws = Bootstrap(scored[0].first.test.utterances, samples=samples, seed=seed)
    comparer = _Comparer(draws, scored)
    to_hard = dict(comparer.against(lambda group: _hard_rival(group, chosen, scored)))
    return Comparisons(
        groups=tuple(groups),
        intervals={group.key: draws.interval(comparer.pooled[group.key]) for group in scored},
        system_intervals=dict(comparer.system_intervals()),
        to_hard=to_hard,
        to_ensemble=dict(comparer.against(lambda _: best_on_dev(of_role(scored, "ensemble")))),
        to_equally_long=dict(
            comparer.against(partial(_equally_long, scored, labelled_share=labelled_share))
        ),
        holm_to_hard=holm(
            {
                key: found.difference.p
                for key, found in to_hard.items()
                if found.group.role == "soft-label student"
            }
        ),
        recoveries=dict(comparer.recoveries()),
        planned=run_plan(plan, scored, comparer.compare),
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


def _equally_long(
    groups: Sequence[SystemGroup], group: SystemGroup, *, labelled_share: float
) -> SystemGroup | None:
    """The baseline on a trunk after as many steps; None for groups on no curve."""
    if group.role != "soft-label student" or not group.first.system.curve:
        return None
    return equally_long(group, curves_of(groups), labelled_share=labelled_share)


def _comparable(groups: Sequence[SystemGroup]) -> list[SystemGroup]:
    """Without students of a fully transcribed corpus whose test set is another one."""

    def utterances(group: SystemGroup) -> list[tuple[str, str]]:
        return [(item.id, item.reference) for item in group.first.test.utterances]

    usual = next((utterances(g) for g in groups if not g.first.system.is_fully_transcribed), None)
    return [
        group
        for group in groups
        if not group.first.system.is_fully_transcribed or utterances(group) == usual
    ]


def _is_scored(split: SplitResult) -> bool:
    return bool(split.utterances) and word_error_rate(split) is not None


class _Comparer:
    """Compares groups whose errors were counted and aligned once."""

    def __init__(self, draws: Bootstrap, groups: Sequence[SystemGroup]) -> None:
        self._draws = draws
        self._groups = groups
        self.pooled: dict[str, PooledErrors] = {
            group.key: draws.pool(group.splits("test"), group.design) for group in groups
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
                yield group.key, self.compare(group, rival)

    def recoveries(self) -> Iterator[tuple[str, Recovery]]:
        """Key and recovery of each group on soft labels that has both baselines."""
        for group in of_role(self._groups, "soft-label student"):
            partly = baseline_of(group, self._groups)
            fully = fully_transcribed_of(group, self._groups)
            if partly is None or fully is None:
                continue
            pooled = (self.pooled[each.key] for each in (group, partly, fully))
            found = self._draws.recovery(*pooled)
            if found is not None:
                yield group.key, Recovery(found.share, found.interval, partly, fully)

    def compare(self, group: SystemGroup, rival: SystemGroup) -> Comparison:
        """The difference of two groups: bootstrap, and matched pairs."""
        paired = group.design.is_paired_with(rival.design)
        return Comparison(
            group=group,
            rival=rival,
            paired=paired,
            difference=self._draws.difference(
                self.pooled[group.key], self.pooled[rival.key], paired=paired
            ),
            segments=matched_pairs(self._marked[group.key], self._marked[rival.key]),
        )
