"""word analysis -> what the page shows of it: tables of the groups that the claim is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.statistics.comparisons import Comparisons
from stages.report.statistics.groups import SystemGroup
from stages.report.word_analysis import (
    Confusion,
    Slice,
    by_speaker,
    by_word_class,
    confusions,
    worst_utterances,
)

MOST_CONFUSIONS = 12  # of a group
MOST_UTTERANCES = 12
MOST_SPEAKERS = 30  # the ones with most to gain and to lose


@dataclass(frozen=True, slots=True)
class SliceRow:
    """A part of the test set: words said, and the word error rate of every group, in per cent.

    `change` is the first group's rate less the second's: chosen less baseline.
    """

    part: str
    words: int
    rates: tuple[float | None, ...]
    change: float | None


def word_sections(comparisons: Comparisons) -> dict[str, Any]:
    """Variables of the template."""
    groups = [
        group
        for group in (comparisons.chosen, comparisons.baseline, comparisons.ensemble)
        if group is not None and group.key in comparisons.intervals
    ]
    has_pair = len(groups) > 1 and groups[1] is comparisons.baseline
    speakers = slice_rows(by_speaker(groups), groups, has_pair=has_pair)
    return {
        "told": [group.name for group in groups],
        "has_change": has_pair,
        "speakers": _most_changed(speakers),
        "num_speakers": len(speakers),
        "word_classes": slice_rows(by_word_class(groups), groups, has_pair=has_pair),
        "confusions": _by_group(confusions(groups, most=MOST_CONFUSIONS), groups),
        "worst": worst_utterances(groups[0], groups[1:], most=MOST_UTTERANCES) if groups else [],
    }


def slice_rows(
    slices: Sequence[Slice], groups: Sequence[SystemGroup], *, has_pair: bool
) -> list[SliceRow]:
    """A row a part, a rate a group."""
    parts = list(dict.fromkeys(part.part for part in slices))
    found = {(part.part, part.group): part for part in slices}
    rows = []
    for name in parts:
        of_groups = [found.get((name, group.name)) for group in groups]
        rates = tuple(
            None if part is None or part.rate is None else 100 * part.rate for part in of_groups
        )
        first, second = (*rates, None, None)[:2]
        known = has_pair and first is not None and second is not None
        words = max(part.words for part in of_groups if part is not None)
        rows.append(SliceRow(name, words, rates, first - second if known else None))  # type: ignore[operator]
    return rows


def _most_changed(rows: list[SliceRow]) -> list[SliceRow]:
    """All, or of many those that change most either way; from the best change to the worst."""
    ordered = sorted(rows, key=lambda row: (row.change or 0.0, row.part))
    if len(ordered) <= MOST_SPEAKERS:
        return ordered
    half = MOST_SPEAKERS // 2
    return [*ordered[:half], *ordered[-half:]]


def _by_group(
    found: Sequence[Confusion], groups: Sequence[SystemGroup]
) -> list[tuple[str, list[Confusion]]]:
    return [(group.name, [c for c in found if c.group == group.name]) for group in groups]
