"""Looks: colour and mark of each role, the same in every picture, and who is named in them.

With four systems all could be named; with a hundred and fifty nobody could be found. So the ones
that claims are about carry a name: ensemble, baseline, chosen; all others are dots of their role.
"""

from dataclasses import dataclass

from stages.report.drawing import BLACK, BLUE, GREEN, ORANGE, SKY
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
    "hard-label student": Look(BLACK, "s", "students on hard labels"),
    "essence student": Look(SKY, "o", "students on the essence"),
}
CHOSEN = Look(BLUE, "o", "chosen on dev")


@dataclass(frozen=True, slots=True)
class Named:
    """A group that carries its name."""

    group: SystemGroup
    look: Look
    dash: str

    @property
    def label(self) -> str:
        """`k=8 (5 seeds)`."""
        num = len(self.group.results)
        return f"{self.group.name} ({num} seeds)" if num > 1 else self.group.name


def named_groups(comparisons: Comparisons) -> list[Named]:
    """Ensemble, baseline, chosen: those that are here."""
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
    """Of any group; the chosen one stands out."""
    chosen = comparisons.chosen
    return CHOSEN if chosen and group.key == chosen.key else LOOKS[group.role]
