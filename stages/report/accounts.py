"""Accounts: a line for each curve: at equal steps, converged, and by the compute of a student.

Hours are those of one processor thread, estimated from the measured speed of forward passes: a step
of training is taken as three of them. A student on soft labels bears its share of the ensemble: the
members' training and the teacher's pass, divided by the number of such students in the report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stages.contract.results import CorpusSummary
from stages.report.column import Cell, Column, column
from stages.report.formats import percent, points, points_range
from stages.report.frame_means import real_time_factor
from stages.report.histories import History
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.curves import Curve, curves_of, epochs_of, passes_of
from stages.report.statistics.groups import SystemGroup, of_role

PASSES_PER_STEP = 3  # forward, and twice as much backward


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One curve. `hours` are those of one student of the length `shown`."""

    curve: Curve
    passes: tuple[float, ...]
    equal: Comparison | None  # at the greatest length that the baseline has, too
    shown: SystemGroup  # the converged one, or the longest
    hours: float | None


def accounts_of(
    comparisons: Comparisons, histories: Mapping[str, History], corpus: CorpusSummary
) -> list[Account]:
    """An account of each curve; empty if there are none."""
    share = labelled_share(corpus)
    ensemble_hours = _ensemble_hours(comparisons, histories, corpus)
    found = []
    for curve in curves_of(comparisons.groups):
        shown = curve.converged or curve.groups[-1]
        factor = real_time_factor(shown)
        hours = None
        if factor is not None:
            passes = passes_of(shown, labelled_share=share)
            hours = PASSES_PER_STEP * factor * corpus.train.hours * passes
        if shown.role == "soft-label student":
            hours = None if hours is None or ensemble_hours is None else hours + ensemble_hours
        equal = [comparisons.to_equally_long.get(group.key) for group in curve.groups]
        found.append(
            Account(
                curve=curve,
                passes=tuple(passes_of(g, labelled_share=share) for g in curve.groups),
                equal=next((each for each in reversed(equal) if each is not None), None),
                shown=shown,
                hours=hours,
            )
        )
    return found


def labelled_share(corpus: CorpusSummary) -> float:
    """Share of the training frames in utterances with hard labels."""
    train = corpus.train
    if train.labelled is None or not train.num_frames:
        return 1.0
    return train.labelled.num_frames / train.num_frames


def _ensemble_hours(
    comparisons: Comparisons, histories: Mapping[str, History], corpus: CorpusSummary
) -> float | None:
    """The ensemble's share of one student; None if a member's speed or length is unknown."""
    students = of_role(comparisons.groups, "soft-label student")
    num_students = sum(len(group.results) for group in students)
    members = of_role(comparisons.groups, "member")
    total = 0.0
    for member in members:
        factor, history = real_time_factor(member), histories.get(member.first.system.name)
        if factor is None or history is None:
            return None
        trained = PASSES_PER_STEP * len(history) * labelled_share(corpus)
        total += factor * corpus.train.hours * (trained + 1)  # and one pass of the teacher
    return total / num_students if members and num_students else None


def _equal_cell(found: Comparison) -> Cell:
    difference = found.difference
    return Cell(text=points(difference.delta), small=points_range(difference.interval))


def _shown_cell(account: Account) -> Cell:
    rate = account.shown.word_error_rate("test")
    epochs = f"{epochs_of(account.shown)} epochs"
    small = epochs if account.curve.converged else f"not by {epochs}"
    return Cell(text="-" if rate is None else percent(rate), small=small)


def _list(values: Sequence[object]) -> str:
    return ", ".join(f"{value:.3g}" if isinstance(value, float) else str(value) for value in values)


ACCOUNT_COLUMNS: tuple[Column[Account], ...] = (
    column("curve", title="Students", value=lambda a: a.curve.name, is_text=True),
    column("epochs", title="Epochs", value=lambda a: _list(a.curve.lengths)),
    column("passes", title="Passes", unit="over all speech", value=lambda a: _list(a.passes)),
    column(
        "equal",
        title="Equal steps",
        unit="vs. hard labels, points",
        value=lambda account: account.equal,
        shown=_equal_cell,
    ),
    column(
        "equal_epochs",
        title="At",
        unit="epochs",
        value=lambda a: None if a.equal is None else epochs_of(a.equal.group),
    ),
    column(
        "converged",
        title="Converged",
        unit="WER, test, %",
        value=_shown_cell,
        shown=lambda cell: cell,
    ),
    column(
        "hours",
        title="Compute",
        unit="core-hours a student",
        value=lambda account: account.hours,
        shown=lambda hours: f"{hours:.2g}",
    ),
)
