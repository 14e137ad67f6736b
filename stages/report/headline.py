"""results -> headline: what the test set says of the essence student, and what it does not."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.report.ranking import best_on_dev, of_role, word_error_rate
from stages.speech.results import SplitResult, SystemResult


@dataclass(frozen=True, slots=True)
class Headline:
    """One sentence in large letters, and the figures that it rests on."""

    verdict: str
    figures: tuple[str, ...]


def write_headline(results: Sequence[SystemResult]) -> Headline:
    """Compare the essence student that is best on dev with hard labels and ensemble, on test."""
    essence = of_role(results, "essence student")
    student = best_on_dev(essence)
    if student is None:
        return Headline("No essence student has been evaluated.", ())
    if word_error_rate(student.test) is None:
        return Headline("The test set has no transcripts: no word error rate is known.", ())
    hard = best_on_dev(of_role(results, "hard-label student"))
    ensemble = best_on_dev(of_role(results, "ensemble"))
    rivals = [("hard-label student", hard), ("ensemble", ensemble)]
    found = [(what, rival) for what, rival in rivals if rival is not None]
    missing = [what for what, rival in rivals if rival is None]
    figures = [_own_figures(student, num_students=len(essence))]
    figures += [_figures(student.test, rival, what) for what, rival in found]
    figures += [f"There is no {what} to compare with." for what in missing]
    return Headline(_verdict(student.test, found), tuple(figures))


def _verdict(ours: SplitResult, rivals: Sequence[tuple[str, SystemResult]]) -> str:
    if not rivals:
        return "The essence student has nothing to be compared with."
    counts = [_count(ours, rival.test, what) for what, rival in rivals]
    counts[0] = (
        counts[0].replace(" than", " word errors than").replace(" many", " many word errors")
    )
    text = f"On the test set, the essence student makes {' and '.join(counts)}."
    within = [what for what, rival in rivals if not _apart(ours, rival.test)]
    if not within:
        beyond = "difference lies" if len(rivals) == 1 else "differences lie"
        return f"{text} The {beyond} outside the 95 % intervals."
    if len(within) == len(rivals) > 1:
        return f"{text} Both differences are within the margin of error."
    which = f" to the {within[0]}" if len(rivals) > 1 else ""
    return f"{text} The difference{which} is within the margin of error."


def _count(ours: SplitResult, theirs: SplitResult, what: str) -> str:
    if ours.words.rate == theirs.words.rate:
        return f"as many as the {what}"
    return f"{'fewer' if ours.words.rate < theirs.words.rate else 'more'} than the {what}"


def _own_figures(student: SystemResult, *, num_students: int) -> str:
    chosen = f", the best on dev of {num_students} essence students," if num_students > 1 else ""
    return f"{student.system.name}{chosen} has a word error rate of {_rate(student.test)}."


def _figures(ours: SplitResult, rival: SystemResult, what: str) -> str:
    theirs = rival.test
    text = f"The {what} ({rival.system.name}) has {_rate(theirs)}"
    if theirs.words.rate > 0:
        change = ours.words.rate / theirs.words.rate - 1
        text += f"; against it the essence student makes {abs(change):.1%}".replace("%", " %")
        text += " more errors" if change > 0 else " fewer errors"
    if _apart(ours, theirs):
        return f"{text}. The intervals do not overlap."
    return f"{text}. The intervals overlap: this test set alone does not tell the two apart."


def _rate(split: SplitResult) -> str:
    low, high = 100 * split.rate_low, 100 * split.rate_high
    return f"{100 * split.words.rate:.2f} % (95 % interval {low:.2f} to {high:.2f})"


def _apart(one: SplitResult, other: SplitResult) -> bool:
    return one.rate_high < other.rate_low or other.rate_high < one.rate_low
