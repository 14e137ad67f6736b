"""word analysis -> tables of the page, for the groups that the headline is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.report.column import Column, column, make_table
from stages.report.formats import percent, points
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
MOST_SPEAKERS = 30  # half with the largest gains, half with the largest losses


@dataclass(frozen=True, slots=True)
class SliceRow:
    """A part of the test set: its words, and the word error rate of each group, as fractions.

    `difference` is the first group's rate minus the second's: chosen minus baseline.
    """

    part: str
    words: int
    rates: tuple[float | None, ...]
    difference: float | None


def word_sections(comparisons: Comparisons) -> dict[str, Any]:
    """Variables of the template."""
    groups = [
        group
        for group in (comparisons.chosen, comparisons.baseline, comparisons.ensemble)
        if group is not None and group.key in comparisons.intervals
    ]
    has_pair = len(groups) > 1 and groups[1] is comparisons.baseline
    speakers = slice_rows(by_speaker(groups), groups, has_pair=has_pair)
    classes = slice_rows(by_word_class(groups), groups, has_pair=has_pair)
    names = [group.name for group in groups]
    columns = slice_columns(names, has_pair=has_pair)
    return {
        "word_groups": names,
        "speakers": make_table([SPEAKER, *columns], _most_changed(speakers)),
        "num_speakers": len(speakers),
        "word_classes": make_table([WORD_CLASS, *columns], classes),
        "confusions": _by_group(confusions(groups, most=MOST_CONFUSIONS), groups),
        "worst": worst_utterances(groups[0], groups[1:], most=MOST_UTTERANCES) if groups else [],
    }


SPEAKER: Column[SliceRow] = column(
    "speaker", title="Speaker", value=lambda row: row.part, is_text=True
)
WORD_CLASS: Column[SliceRow] = column(
    "class", title="Class", value=lambda row: row.part, is_text=True
)


def slice_columns(names: Sequence[str], *, has_pair: bool) -> list[Column[SliceRow]]:
    """Words, the rate of each group, and for a pair the difference of the first two."""
    words: Column[SliceRow] = column("words", title="Words", value=lambda row: row.words)
    difference: Column[SliceRow] = column(
        "difference",
        title="Difference",
        unit="points",
        value=lambda row: row.difference,
        shown=points,
    )
    rates = [_rate_column(name, number) for number, name in enumerate(names)]
    return [words, *rates, *([difference] if has_pair else [])]


def _rate_column(name: str, number: int) -> Column[SliceRow]:
    return column(
        f"wer_{number}",
        title=name,
        unit="test WER, %",
        value=lambda row: row.rates[number],
        shown=percent,
    )


def slice_rows(
    slices: Sequence[Slice], groups: Sequence[SystemGroup], *, has_pair: bool
) -> list[SliceRow]:
    """A row for each part, with a rate for each group."""
    parts = list(dict.fromkeys(part.part for part in slices))
    found = {(part.part, part.group): part for part in slices}
    rows = []
    for name in parts:
        of_groups = [found.get((name, group.name)) for group in groups]
        rates = tuple(None if part is None else part.rate for part in of_groups)
        words = max(part.words for part in of_groups if part is not None)
        difference = _difference(*rates[:2]) if has_pair else None
        rows.append(SliceRow(name, words, rates, difference))
    return rows


def _difference(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _most_changed(rows: list[SliceRow]) -> list[SliceRow]:
    """At most MOST_SPEAKERS rows, those with the largest differences, the best first."""
    ordered = sorted(rows, key=lambda row: (row.difference or 0.0, row.part))
    if len(ordered) <= MOST_SPEAKERS:
        return ordered
    half = MOST_SPEAKERS // 2
    return [*ordered[:half], *ordered[-half:]]


def _by_group(
    found: Sequence[Confusion], groups: Sequence[SystemGroup]
) -> list[tuple[str, list[Confusion]]]:
    return [(group.name, [c for c in found if c.group == group.name]) for group in groups]
