"""Comparison: a group of systems vs. a rival, on test."""

from dataclasses import dataclass

from stages.report.statistics.bootstrap import Difference
from stages.report.statistics.groups import SystemGroup
from stages.report.statistics.matched_pairs import MatchedPairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A group vs. a rival. `paired`: both have the same seeds, which are drawn together."""

    group: SystemGroup
    rival: SystemGroup
    paired: bool
    difference: Difference
    segments: MatchedPairs
