"""results, corpus -> costs: the passes of the teacher that stored soft labels have saved."""

from collections.abc import Mapping
from dataclasses import dataclass

from stages.report.histories import History
from stages.report.statistics.comparisons import Comparisons


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherPasses:
    """Passes of the ensemble over the training speech.

    A teacher that runs while students train makes one pass in each epoch of each student.
    """

    num_students: int
    num_epochs: int

    @property
    def saved(self) -> int:
        """All passes but the one that wrote the soft labels."""
        return max(0, self.num_epochs - 1)


def count_teacher_passes(
    comparisons: Comparisons, histories: Mapping[str, History]
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
    return TeacherPasses(num_students=len(epochs), num_epochs=sum(epochs))
