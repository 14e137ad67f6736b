"""Looks: colour and marker of each role in all pictures, and the groups that have a name there.

In a picture of 150 systems no name could be read. Only the systems that claims are about have a
name: ensemble, baseline and the chosen group. All others are dots in the colour of their role.
"""

from dataclasses import dataclass

from stages.report.drawing import BLACK, BLUE, GREEN, GREY, ORANGE, SKY
from stages.report.ranking import Role
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup


@dataclass(frozen=True, slots=True)
class Look:
    """How a role is drawn."""

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
    """The look of a group's role; the chosen group has its own."""
    chosen = comparisons.chosen
    return CHOSEN if chosen and group.key == chosen.key else LOOKS[group.role]
