"""Curves: the errors of students that differ in the length of their training alone, on one trunk.

Lengths are counted in passes over all training speech: an epoch of a student on hard labels of a
part of it is a part of a pass, and has as many steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.statistics.groups import SystemGroup

CONVERGED = 0.003  # of the word error rate on dev: the last doubling gained less
SAME_STEPS = 1.2  # ratio of two lengths that count as equal


@dataclass(frozen=True, slots=True)
class Curve:
    """Groups of one setting, shortest first; two at least."""

    name: str
    groups: tuple[SystemGroup, ...]

    @property
    def first(self) -> SystemGroup:
        """The shortest."""
        return self.groups[0]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Epochs of each group."""
        return tuple(map(epochs_of, self.groups))

    @property
    def converged(self) -> SystemGroup | None:
        """The shortest group whose doubling from half its length gained less than CONVERGED on dev.

        None if no length is twice another, or each doubling gained more.
        """
        rates = {epochs_of(group): group.word_error_rate("dev") for group in self.groups}
        for group in self.groups:
            half, is_odd = divmod(epochs_of(group), 2)
            now, before = rates[epochs_of(group)], None if is_odd else rates.get(half)
            if now is not None and before is not None and before - now < CONVERGED:
                return group
        return None


def epochs_of(group: SystemGroup) -> int:
    """Length of the training of a group on a trunk, its decay included."""
    epochs = group.first.system.facts.epochs
    assert epochs is not None
    return epochs


def passes_of(group: SystemGroup, *, labelled_share: float) -> float:
    """Passes over all training speech; students on hard labels read `labelled_share` of it.

    Not if they have equal steps: then their epochs are counted over all speech, too.
    """
    reads_a_part = group.role == "hard-label student"
    if reads_a_part and not group.first.system.facts.has_equal_steps:
        return epochs_of(group) * labelled_share
    return float(epochs_of(group))


def curves_of(groups: Sequence[SystemGroup]) -> list[Curve]:
    """The curves, in the order of their first groups."""
    found: dict[str, list[SystemGroup]] = {}
    for group in groups:
        if group.first.system.curve:
            found.setdefault(group.first.system.curve, []).append(group)
    return [
        Curve(several[0].first.system.curve_name, tuple(sorted(several, key=epochs_of)))
        for several in found.values()
        if len(several) > 1
    ]


def equally_long(
    group: SystemGroup, curves: Sequence[Curve], *, labelled_share: float
) -> SystemGroup | None:
    """The group on hard labels of the same architecture that took the same number of steps.

    The one that is best on dev, if there are several curves of hard labels.
    """
    wanted = passes_of(group, labelled_share=labelled_share)
    rivals = [
        rival
        for curve in curves
        for rival in curve.groups
        if rival.role == "hard-label student"
        and rival.architecture == group.architecture
        and rival.first.system.facts.has_given_labels
    ]
    near = [
        rival
        for rival in rivals
        if 1 / SAME_STEPS <= passes_of(rival, labelled_share=labelled_share) / wanted <= SAME_STEPS
    ]
    return min(near, key=lambda rival: rival.word_error_rate("dev") or 0.0, default=None)
