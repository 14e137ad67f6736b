"""results, corpus -> costs: how often the teacher would have run without its soft labels."""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.contract.results import CorpusSummary
from stages.report.frame_means import real_time_factor
from stages.report.histories import History
from stages.report.statistics.comparisons import Comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherPasses:
    """Passes of the ensemble over the training speech.

    A teacher that answers while students train would run once in every epoch of each. `hours` are
    of one processor thread for one pass; None where the ensemble's speed is not known.
    """

    num_students: int
    num_epochs: int
    hours: float | None

    @property
    def saved(self) -> int:
        """All but the one that labelled."""
        return max(0, self.num_epochs - 1)

    @property
    def hours_saved(self) -> float | None:
        """Hours of one processor thread."""
        return None if self.hours is None else self.hours * self.saved


def count_teacher_passes(
    comparisons: Comparisons, histories: Mapping[str, History], corpus: CorpusSummary
) -> TeacherPasses | None:
    """None where no essence student's epochs are known."""
    epochs = [
        len(histories[result.system.name])
        for group in comparisons.groups
        if group.role == "essence student"
        for result in group.results
        if result.system.name in histories
    ]
    if not epochs:
        return None
    factor = real_time_factor(comparisons.ensemble) if comparisons.ensemble else None
    return TeacherPasses(
        num_students=len(epochs),
        num_epochs=sum(epochs),
        hours=None if factor is None else factor * corpus.train.hours,
    )
