"""Non-inferiority: is a system at most a margin worse than another? The margin is fixed before."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from stages.report.statistics.bootstrap import Difference

Verdict = Literal["non-inferior", "inferior", "undecided"]


@dataclass(frozen=True, slots=True)
class Margin:
    """Points of word error rate, or per cent of the rival's."""

    value: float
    unit: Literal["absolute", "relative"] = "absolute"

    def of(self, rival_rate: float) -> float:
        """The margin as a fraction of words."""
        return self.value / 100 * (rival_rate if self.unit == "relative" else 1.0)


def judge(difference: "Difference", margin: float) -> Verdict:
    """Compare the 95 % interval of system minus rival with the margin, both as fractions.

    All of it below: non-inferior, at a one-sided level of 2.5 %. All of it above: inferior.
    """
    if difference.interval.high < margin:
        return "non-inferior"
    return "inferior" if difference.interval.low > margin else "undecided"
