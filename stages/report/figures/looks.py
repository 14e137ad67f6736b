"""Looks: colour and marker of each family in all pictures, and the groups that have a name there.

A family has one colour everywhere. Systems of one family that are drawn as lines differ in their
dashes. In a picture of 150 systems no name could be read: only the systems that claims are about
have one, ensemble, baseline and the chosen group. All others are dots in their family's colour.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.drawing import (
    BLACK,
    BLUE,
    DASHES,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
)
from stages.report.ranking import Role
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup


@dataclass(frozen=True, slots=True)
class Look:
    """How a family is drawn."""

    colour: str
    marker: str
    plural: str


LOOKS: dict[Role, Look] = {
    "member": Look(GREEN, "^", "members"),
    "ensemble": Look(ORANGE, "D", "ensemble"),
    "fully transcribed student": Look(GREY, "P", "students on hard labels of all speech"),
    "hard-label student": Look(BLACK, "s", "students on hard labels"),
    "soft-label student": Look(SKY, "o", "students on soft labels"),
}
CHOSEN = Look(BLUE, "o", "chosen on dev")
BY_ENSEMBLE = Look(VERMILLION, "v", "students on hard labels by the ensemble")
NULL_ARM = Look(PURPLE, "X", "null arms: ranks permuted or redrawn")


@dataclass(frozen=True, slots=True)
class Named:
    """A group that is drawn with its name."""

    group: SystemGroup
    look: Look
    dash: str

    @property
    def label(self) -> str:
        """`k=8 (5 seeds)`."""
        num = len(self.group.results)
        return f"{self.group.name} ({num} seeds)" if num > 1 else self.group.name


def named_groups(comparisons: Comparisons) -> list[Named]:
    """Ensemble, baseline and chosen group, as far as they exist."""
    return [
        Named(group, look, dash)
        for group, look, dash in (
            (comparisons.ensemble, LOOKS["ensemble"], "-."),
            (comparisons.baseline, LOOKS["hard-label student"], "--"),
            (comparisons.chosen, CHOSEN, "-"),
        )
        if group is not None
    ]


def look_of(group: SystemGroup, comparisons: Comparisons) -> Look:
    """The look of a group's family; the chosen group has its own."""
    chosen = comparisons.chosen
    if chosen and group.key == chosen.key:
        return CHOSEN
    facts = group.first.system.facts
    if facts.is_null_arm:
        return NULL_ARM
    if group.role == "hard-label student" and not facts.has_given_labels:
        return BY_ENSEMBLE
    return LOOKS[group.role]


def lines_of(groups: Sequence[SystemGroup], comparisons: Comparisons) -> Iterator[tuple[Look, Any]]:
    """Look and dash (matplotlib's) of each group drawn as a line, in order."""
    drawn: Counter[Look] = Counter()
    for group in groups:
        look = look_of(group, comparisons)
        yield look, DASHES[drawn[look] % len(DASHES)]
        drawn[look] += 1
