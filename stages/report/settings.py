"""Settings of the report."""

from typing import Literal

from pydantic import Field

from stages.contract.settings import Settings
from stages.report.statistics.margin import Margin

PAGE_FORMAT = 14  # of what the page shows; raising it makes pages be written again


class PlannedComparison(Settings):
    """A comparison that is fixed before test is used: names as in the table of systems."""

    system: str = Field(min_length=1)
    rival: str = Field(min_length=1)


class ReportSettings(Settings):
    """How the page looks, and how its intervals are computed."""

    title: str = "Essence: an ensemble, distilled"
    utterance: str | None = (
        None  # dev utterance of the posteriorgram; None: one of about three seconds
    )
    posteriorgram_classes: int = Field(default=24, ge=2, le=80)
    bootstrap_samples: int = Field(default=10_000, ge=100)  # of intervals and p-values
    seed: int = Field(default=1, ge=0)  # of the bootstrap
    # One system: students that differ only in seed and teacher, of ensembles that differ only in
    # seeds. Intervals then include the variation between ensembles.
    pool_ensembles: bool = False
    # Non-inferiority to the ensemble: points of WER (0.5: half a point), or per cent of its WER.
    margin: float | None = Field(default=None, gt=0)
    margin_is: Literal["absolute", "relative"] = "absolute"
    planned: tuple[PlannedComparison, ...] = ()  # one family for Holm's correction

    @property
    def plan(self) -> tuple[tuple[str, str], ...]:
        """System and rival of each planned comparison."""
        return tuple((pair.system, pair.rival) for pair in self.planned)

    @property
    def margin_to_ensemble(self) -> Margin | None:
        """The margin of non-inferiority; None if none was fixed."""
        return None if self.margin is None else Margin(self.margin, self.margin_is)
