"""comparisons -> headline: what the test set shows of the essence student, and what it does not.

The student was chosen on dev. A difference is said to be shown where the bootstrap's p is below
LEVEL and there are HINT_SEEDS at least; where MAPSSWE does not agree, that is said too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stages.contract.results import SplitSummary
from stages.report.formats import p_equals, percent, percent_range, points, points_range
from stages.report.statistics.comparisons import LEVEL, Comparison, Comparisons
from stages.report.statistics.groups import SystemGroup, electable, of_role

FEW_SPEAKERS = 20  # below, intervals are rough
HINT_SEEDS = 3  # below, a difference is a hint


@dataclass(frozen=True, slots=True)
class Headline:
    """One or two sentences in large letters, and the figures that they rest on."""

    verdict: str
    figures: tuple[str, ...]


def write_headline(comparisons: Comparisons, *, train: SplitSummary) -> Headline:
    """Compare the essence students that are best on dev with hard labels and ensemble, on test.

    Where a part of `train` has no hard labels, that is said too: it is what the figures mean.
    """
    chosen = comparisons.chosen
    if chosen is None:
        return Headline("No essence student has been evaluated.", ())
    if chosen.word_error_rate("test") is None:
        return Headline("The test set has no transcripts: no word error rate is known.", ())
    found = [
        (name, comparison)
        for name, comparison in (
            ("hard labels", comparisons.to_hard.get(chosen.key)),
            ("the ensemble", comparisons.to_ensemble.get(chosen.key)),
        )
        if comparison is not None
    ]
    if not found:
        verdict = "The essence student has nothing to be compared with."
    else:
        verdict = " ".join(_verdict(name, comparison) for name, comparison in found)
    return Headline(verdict, (*_figures(comparisons, chosen), *_transcribed(train)))


def _verdict(name: str, comparison: Comparison) -> str:
    found = comparison.difference
    ours = comparison.group.name
    evidence = (
        f"{points(found.delta)} points (95 % {points_range(found.interval)}, "
        f"{p_equals(found.p)}, {_seeds(comparison)})."
    )
    if found.p >= LEVEL:
        return f"No difference between {ours} and {name} is shown on test: {evidence}"
    if _few_seeds(comparison):  # the interval knows little of another training
        fewer = "fewer" if found.delta < 0 else "more"
        return f"A hint, no proof: {ours} makes {fewer} word errors than {name} on test: {evidence}"
    return f"{ours} is {'better' if found.delta < 0 else 'worse'} than {name} on test: {evidence}"


def _few_seeds(comparison: Comparison) -> bool:
    """Was one side trained once or twice only? An ensemble is what it is: it has no seeds."""
    sides = [comparison.group, comparison.rival]
    return any(len(side.results) < HINT_SEEDS for side in sides if side.role != "ensemble")


def _seeds(comparison: Comparison) -> str:
    ours, theirs = len(comparison.group.results), len(comparison.rival.results)
    if ours == theirs or comparison.rival.role == "ensemble":
        return f"{ours} seed{'s' if ours > 1 else ''}"
    return f"{ours} against {theirs} seeds"


def _figures(comparisons: Comparisons, chosen: SystemGroup) -> Iterator[str]:
    essence = of_role(comparisons.groups, "essence student")
    num = len(electable(essence))
    among = f" among {num} settings of essence students" if num > 1 else ""
    barred = f" ({len(essence) - num} more with too few seeds)" if len(essence) > num else ""
    yield (
        f"{chosen.name} was chosen on dev{among}{barred}; the test set had no say in it. Word "
        f"error rates on test: {_rate(comparisons, chosen)}{_rival_rates(comparisons)}."
    )
    for name, missing, comparison in (
        (
            "hard labels",
            "are no students of this architecture on hard labels",
            comparisons.to_hard.get(chosen.key),
        ),
        ("the ensemble", "is no ensemble", comparisons.to_ensemble.get(chosen.key)),
    ):
        if comparison is None:
            yield f"There {missing} to compare with."
        else:
            yield _second_opinion(name, comparison)
    yield from _warnings(comparisons, chosen)


def _rival_rates(comparisons: Comparisons) -> str:
    rivals = (comparisons.baseline, comparisons.ensemble)
    known = [rival for rival in rivals if rival and rival.word_error_rate("test") is not None]
    return "".join(f"; {_rate(comparisons, rival)}" for rival in known)


def _rate(comparisons: Comparisons, group: SystemGroup) -> str:
    text = f"{group.name} {percent(group.word_error_rate('test') or 0.0)} %"
    interval = comparisons.intervals.get(group.key)
    return text if interval is None else f"{text} ({percent_range(interval)})"


def _second_opinion(name: str, comparison: Comparison) -> str:
    found, segments = comparison.difference, comparison.segments
    text = (
        f"Against {name}: probability of improvement {found.improvement:.3f}; MAPSSWE over "
        f"{segments.num_segments} segments {p_equals(segments.p)}"
    )
    if (segments.p < LEVEL) != (found.p < LEVEL):
        text += ", which does not agree with the bootstrap: take neither as proof"
    return f"{text}."


def _transcribed(train: SplitSummary) -> Iterator[str]:
    if train.labelled is not None:
        yield (
            f"{train.labelled.hours:.2f} of {train.hours:.2f} hours of training speech have hard "
            "labels; what the rest teaches comes by soft labels alone."
        )


def _warnings(comparisons: Comparisons, chosen: SystemGroup) -> Iterator[str]:
    baseline = comparisons.baseline
    once = [group.name for group in (chosen, baseline) if group and len(group.results) == 1]
    if once:
        yield (
            f"One seed was trained of {' and of '.join(once)}: another training would have given "
            "another student, which neither interval nor p knows. Take this for a hint."
        )
    if comparisons.num_units and not comparisons.units_are_speakers:
        yield "All of the test set is one speaker: the figures say nothing about other voices."
    elif 0 < comparisons.num_units < FEW_SPEAKERS:
        yield f"The test set has {comparisons.num_units} speakers: intervals from so few are rough."
