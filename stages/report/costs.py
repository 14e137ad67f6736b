"""results, corpus -> costs: the passes of the teacher that stored soft labels have saved."""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.contract.results import CorpusSummary
from stages.report.frame_means import real_time_factor
from stages.report.histories import History
from stages.report.statistics.comparisons import Comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherPasses:
    """Passes of the ensemble over the training speech.

    A teacher that runs while students train makes one pass in each epoch of each student. `hours`
    are hours of one processor thread for one pass; None if the ensemble's speed is unknown.
    """

    num_students: int
    num_epochs: int
    hours: float | None

    @property
    def saved(self) -> int:
        """All passes but the one that wrote the soft labels."""
        return max(0, self.num_epochs - 1)

    @property
    def hours_saved(self) -> float | None:
        """Hours of one processor thread; None if the ensemble's speed is unknown."""
        return None if self.hours is None else self.hours * self.saved


def count_teacher_passes(
    comparisons: Comparisons, histories: Mapping[str, History], corpus: CorpusSummary
) -> TeacherPasses | None:
    """The passes for all students on soft labels; None if no number of epochs is known."""
    epochs = [
        len(histories[result.system.name])
        for group in comparisons.groups
        if group.role == "soft-label student"
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
