"""comparisons -> headline: what the test set shows about the student that was chosen on dev.

A difference counts as shown if the bootstrap's p is below LEVEL and both sides have at least
HINT_SEEDS seeds. The headline also reports if MAPSSWE disagrees.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stages.contract.results import SplitSummary
from stages.report.formats import (
    MINUS,
    fixed,
    p_equals,
    percent,
    percent_range,
    points,
    points_range,
    thousands,
)
from stages.report.rows import bytes_per_frame
from stages.report.statistics.comparison import Comparison
from stages.report.statistics.comparisons import LEVEL, Comparisons, Recovery
from stages.report.statistics.groups import SystemGroup, eligible, of_role
from stages.report.statistics.margin import Margin, judge
from storage.care.store_audit import StoreAudit

FEW_SPEAKERS = 20  # with fewer, intervals are rough
HINT_SEEDS = 3  # with fewer, a difference is a hint


@dataclass(frozen=True, slots=True)
class Headline:
    """One or two sentences, and the figures that support them."""

    verdict: str
    figures: tuple[str, ...]


def write_headline(
    comparisons: Comparisons,
    *,
    train: SplitSummary,
    margin: Margin | None = None,
    store: StoreAudit | None = None,
) -> Headline:
    """Compare the chosen students with hard labels and ensemble, on test.

    If a part of `train` has no hard labels, the figures say how much: hard labels learn from less.
    With a `margin` they say whether the students are non-inferior to the ensemble. `store` is the
    audit of the train store, which has the bytes that the student reads.
    """
    chosen = comparisons.chosen
    if chosen is None:
        return Headline("No student on soft labels has been evaluated.", ())
    if chosen.word_error_rate("test") is None:
        return Headline("The test set has no transcripts: word error rates are unknown.", ())
    found = [
        (name, comparison)
        for name, comparison in (
            ("hard labels", comparisons.to_hard.get(chosen.key)),
            ("the ensemble", comparisons.to_ensemble.get(chosen.key)),
        )
        if comparison is not None
    ]
    if not found:
        verdict = "There is nothing to compare the student on soft labels with."
    else:
        verdict = " ".join(_verdict(name, comparison) for name, comparison in found)
    verdict = f"{verdict} {_cost(comparisons, chosen, store)}".rstrip()
    figures = (
        *_figures(comparisons, chosen),
        *_recovery(comparisons.recoveries.get(chosen.key)),
        *_non_inferiority(comparisons.to_ensemble.get(chosen.key), margin),
        *_transcribed(train),
    )
    return Headline(verdict, figures)


def _verdict(name: str, comparison: Comparison) -> str:
    found = comparison.difference
    ours = comparison.group.name
    evidence = (
        f"{points(found.delta)} points (95 % {points_range(found.interval)}, "
        f"{p_equals(found.p)}, {_seeds(comparison)})."
    )
    if found.p >= LEVEL:
        return f"No difference between {ours} and {name} is shown on test: {evidence}"
    if _few_seeds(comparison):  # the interval says little about other trainings
        fewer = "fewer" if found.delta < 0 else "more"
        return (
            f"A hint, not a proof: {ours} makes {fewer} word errors than {name} on test: {evidence}"
        )
    return f"{ours} is {'better' if found.delta < 0 else 'worse'} than {name} on test: {evidence}"


def _cost(comparisons: Comparisons, chosen: SystemGroup, store: StoreAudit | None) -> str:
    """Parameters of the student next to the ensemble's, and the bytes that it reads of a frame."""
    rivals = [chosen, comparisons.ensemble]
    sizes = [group.first.evaluation.num_parameters if group else None for group in rivals]
    parts = []
    if sizes[0] is not None:
        parts.append(f"{chosen.name} has {thousands(sizes[0])} parameters")
        if sizes[1] is not None:
            parts[0] += f", the ensemble {thousands(sizes[1])}"
    size = bytes_per_frame(store, chosen.k)
    if size is not None:
        parts.append(f"its soft labels take {size:.1f} bytes a frame")
    return f"{'; '.join(parts)}." if parts else ""


def _few_seeds(comparison: Comparison) -> bool:
    """Has one side fewer than HINT_SEEDS seeds? An ensemble has no seeds, so it does not count."""
    sides = [comparison.group, comparison.rival]
    return any(len(side.results) < HINT_SEEDS for side in sides if side.role != "ensemble")


def _seeds(comparison: Comparison) -> str:
    if comparison.group.is_of_ensembles:
        design = comparison.group.design
        return f"{design.num_runs} runs of {design.num_ensembles} ensembles"
    num, num_rival = len(comparison.group.results), len(comparison.rival.results)
    if num == num_rival or comparison.rival.role == "ensemble":
        return f"{num} seed{'s' if num > 1 else ''}"
    return f"{num} vs. {num_rival} seeds"


def _figures(comparisons: Comparisons, chosen: SystemGroup) -> Iterator[str]:
    essence = of_role(comparisons.groups, "soft-label student")
    num = len(eligible(essence))
    among = f" among {num} settings of students on soft labels" if num > 1 else ""
    barred = f" ({len(essence) - num} more with too few seeds)" if len(essence) > num else ""
    yield (
        f"{chosen.name} was chosen on dev{among}{barred}, without looking at test. Word error "
        f"rates on test: {_rate(comparisons, chosen)}{_rival_rates(comparisons)}."
    )
    for name, missing, comparison in (
        (
            "hard labels",
            "are no students on hard labels with this architecture",
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
        f"Compared with {name}: probability of improvement {found.improvement:.3f}; MAPSSWE over "
        f"{segments.num_segments} segments {p_equals(segments.p)}"
    )
    if (segments.p < LEVEL) != (found.p < LEVEL):
        text += ", which disagrees with the bootstrap: neither is a proof"
    return f"{text}."


def _recovery(recovery: Recovery | None) -> Iterator[str]:
    if recovery is None:
        return
    share, interval = fixed(0, scale=100), recovery.interval
    bounds = "no bounds: all transcripts do not clearly gain anything"
    if interval is not None:
        bounds = f"95 % {share(interval.low)} to {share(interval.high)}"
    text = (
        f"It recovers {share(recovery.share)} % of what transcripts of all speech would gain "
        f"({bounds}): from {recovery.partly.name} to {recovery.fully.name}."
    )
    yield text.replace("-", MINUS)


def _non_inferiority(comparison: Comparison | None, margin: Margin | None) -> Iterator[str]:
    """One sentence: non-inferior, inferior, or undecided."""
    rate = comparison.rival.word_error_rate("test") if comparison else None
    if comparison is None or margin is None or rate is None:
        return
    found = comparison.difference
    width = margin.of(rate)
    verdict = judge(found, width)
    name = comparison.group.name
    judged = {
        "non-inferior": f"{name} is non-inferior to the ensemble",
        "inferior": f"{name} is inferior to the ensemble",
        "undecided": f"Whether {name} is non-inferior to the ensemble is undecided",
    }[verdict]
    yield (
        f"{judged}, by a margin of {percent(width)} points fixed before: the 95 % interval of the "
        f"difference is {points_range(found.interval)}."
    )


def _transcribed(train: SplitSummary) -> Iterator[str]:
    if train.labelled is not None:
        yield (
            f"{train.labelled.hours:.2f} of {train.hours:.2f} hours of training speech have hard "
            "labels; from the rest, students learn by soft labels alone."
        )


def _warnings(comparisons: Comparisons, chosen: SystemGroup) -> Iterator[str]:
    baseline = comparisons.baseline
    once = [group.name for group in (chosen, baseline) if group and len(group.results) == 1]
    if once:
        yield (
            f"Only one seed was trained of {' and of '.join(once)}: interval and p do not include "
            "the variation between trainings. This is a hint, not a proof."
        )
    if comparisons.num_units and not comparisons.units_are_speakers:
        yield "The test set is one speaker: the figures do not generalise to other voices."
    elif 0 < comparisons.num_units < FEW_SPEAKERS:
        yield f"The test set has only {comparisons.num_units} speakers: intervals are rough."
