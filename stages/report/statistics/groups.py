"""SystemGroup: students that differ in their seed alone are one system, measured several times."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from stages.contract.results import SplitResult, SystemResult
from stages.report.ranking import ORDER, Role, in_order, kept_of, role_of, word_error_rate
from stages.report.statistics.design import Design

CLAIM_SEEDS = 5  # seeds of a group that claims are about, or as many as any group of its role has


@dataclass(frozen=True)
class SystemGroup:
    """Results of one system, by seed. A member and the ensemble are groups of one."""

    results: tuple[SystemResult, ...]
    name: str = ""  # in tables; without the seed if there are several

    @property
    def first(self) -> SystemResult:
        """The result whose settings are shown."""
        return self.results[0]

    @property
    def key(self) -> str:
        """Identity of the group."""
        return group_key(self.first)

    @property
    def role(self) -> Role:
        """The role, the same for all seeds."""
        return role_of(self.first)

    @property
    def k(self) -> int | None:
        """k of students on soft labels; None for all others."""
        return kept_of(self.first)

    @property
    def architecture(self) -> str:
        """Architecture, in words."""
        return self.first.system.facts.architecture

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that are known, in the order of `results`."""
        seeds = (result.system.facts.seed for result in self.results)
        return tuple(seed for seed in seeds if seed is not None)

    @cached_property
    def design(self) -> Design:
        """Which results share a seed, and which an ensemble."""
        systems = [result.system for result in self.results]
        seeds = (s.fingerprint if s.facts.seed is None else str(s.facts.seed) for s in systems)
        return Design(
            tuple(seeds), tuple(system.ensemble or system.teacher or "" for system in systems)
        )

    @property
    def is_of_ensembles(self) -> bool:
        """Whether its students learnt from several ensembles."""
        return self.design.num_ensembles > 1

    def splits(self, split: str) -> tuple[SplitResult, ...]:
        """A split's results of all seeds."""
        return tuple(result.dev if split == "dev" else result.test for result in self.results)

    def word_error_rate(self, split: str) -> float | None:
        """Mean over the seeds; None without reference words."""
        return mean_known([word_error_rate(part) for part in self.splits(split)])

    def phone_error_rate(self, split: str) -> float | None:
        """Mean over the seeds; None where phones are unknown."""
        found = [part.phones for part in self.splits(split)]
        return mean_known([None if phones is None else phones.rate for phones in found])

    @property
    def frame_error(self) -> float | None:
        """Frame error on dev, mean over the seeds; None without hard labels."""
        return mean_known([result.dev.frames.frame_error for result in self.results])


def fully_transcribed_of(group: SystemGroup, groups: Sequence[SystemGroup]) -> SystemGroup | None:
    """The students on hard labels of all speech, of the same architecture, best on dev."""
    full = of_role(groups, "fully transcribed student")
    return best_on_dev([rival for rival in full if rival.architecture == group.architecture])


def mean_known(values: Sequence[float | None]) -> float | None:
    """The mean; None if a value is unknown or there are none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def group_key(result: SystemResult) -> str:
    """Students with the same key differ in their seed alone."""
    system = result.system
    return system.group if system.kind == "student" and system.group else system.fingerprint


def group_results(results: Sequence[SystemResult]) -> list[SystemGroup]:
    """All groups: members, ensemble, hard-label and soft-label students, by k and name."""
    found: dict[str, list[SystemResult]] = {}
    for result in in_order(results):
        found.setdefault(group_key(result), []).append(result)
    groups = [_make_group(sorted(same, key=_by_seed)) for same in found.values()]
    twice = {name for name, num in Counter(group.name for group in groups).items() if num > 1}
    named = [_with_key(group) if group.name in twice else group for group in groups]
    return sorted(named, key=lambda group: (ORDER.index(group.role), group.k or 0, group.name))


def _make_group(results: list[SystemResult]) -> SystemGroup:
    system = results[0].system
    name = system.name if len(results) == 1 else system.group_name or system.name
    return SystemGroup(tuple(results), name)


def _with_key(group: SystemGroup) -> SystemGroup:
    return replace(group, name=f"{group.name} [{group.key[:6]}]")


def _by_seed(result: SystemResult) -> tuple[int, str]:
    return result.system.facts.seed or 0, result.system.fingerprint


def of_role(groups: Sequence[SystemGroup], role: Role) -> list[SystemGroup]:
    """The groups of one role, in order."""
    return [group for group in groups if group.role == role]


def best_on_dev(groups: Sequence[SystemGroup]) -> SystemGroup | None:
    """Lowest mean word error rate on dev, then lowest frame error. Test is not used."""
    return min(eligible(groups), key=_dev_order, default=None)


def eligible(groups: Sequence[SystemGroup]) -> list[SystemGroup]:
    """Groups with enough seeds: of many systems trained once, the best is mostly the luckiest.

    CLAIM_SEEDS are enough, or as many as the group with most of them has.
    """
    most = max((len(group.results) for group in groups), default=0)
    return [group for group in groups if len(group.results) >= min(CLAIM_SEEDS, most)]


def _dev_order(group: SystemGroup) -> tuple[float, float]:
    words, frames = group.word_error_rate("dev"), group.frame_error
    worst = float("inf")
    return worst if words is None else words, worst if frames is None else frames


def baseline_of(group: SystemGroup, groups: Sequence[SystemGroup]) -> SystemGroup | None:
    """The hard-label students of the same architecture that are best on dev.

    Those on hard labels by the ensemble are rivals, not baselines: they need the ensemble too.
    """
    hard = of_role(groups, "hard-label student")
    return best_on_dev(
        [
            rival
            for rival in hard
            if rival.architecture == group.architecture
            and rival.first.system.facts.has_given_labels
        ]
    )
