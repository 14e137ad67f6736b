"""results of token sequences -> tables of greedy decoding: token, character and word errors.

A measure is compared as word errors are: its utterances take the place of the decoded ones, so
that intervals and tests are those of bootstrap.py and matched_pairs.py, on the same draws.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stages.contract.results import SplitResult, SystemResult, UtteranceResult, WordErrors
from stages.report.column import Column, Table, column, make_table
from stages.report.comparison_columns import comparison_columns
from stages.report.formats import percent, percent_range
from stages.report.places import SYSTEMS
from stages.report.rows import Row, group_rows
from stages.report.settings import ReportSettings
from stages.report.statistics.comparisons import compare
from stages.report.statistics.groups import group_results

Measure = Literal["tokens", "characters", "words"]
TITLES: dict[Measure, str] = {
    "tokens": "Token error",
    "characters": "Character error",
    "words": "Word error, greedy",
}


@dataclass(frozen=True, slots=True)
class GreedyTable:
    """A measure, and the rows of all systems."""

    title: str
    table: Table[Row]


def greedy_tables(
    results: Sequence[SystemResult], settings: ReportSettings, *, labelled_share: float = 1.0
) -> list[GreedyTable]:
    """A table for each measure; none if the corpus has labels of frames."""
    tables = []
    for measure, title in TITLES.items():
        views = list(_views(results, measure))
        if views:
            found = compare(
                group_results(views),
                samples=settings.bootstrap_samples,
                seed=settings.seed,
                labelled_share=labelled_share,
            )
            columns = _columns(title, with_blanks=measure == "tokens")
            tables.append(GreedyTable(title, make_table(columns, group_rows(found))))
    return tables


def _views(results: Iterable[SystemResult], measure: Measure) -> Iterator[SystemResult]:
    for result in results:
        dev, test = (_view(part, measure) for part in (result.dev, result.test))
        if dev is not None and test is not None:
            evaluation = result.evaluation.model_copy(update={"dev": dev, "test": test})
            yield replace(result, evaluation=evaluation)


def _view(split: SplitResult, measure: Measure) -> SplitResult | None:
    utterances: tuple[UtteranceResult, ...] | None
    utterances = None if split.greedy is None else getattr(split.greedy, measure)
    if utterances is None:
        return None
    return split.model_copy(update={"utterances": utterances, "words": _sum(utterances)})


def _sum(utterances: Sequence[UtteranceResult]) -> WordErrors:
    counts = [item.words for item in utterances]
    fields = WordErrors.model_fields
    return WordErrors(**{name: sum(getattr(each, name) for each in counts) for name in fields})


def _columns(title: str, *, with_blanks: bool) -> tuple[Column[Row], ...]:
    rates = (
        column(
            f"rate_{split}",
            title=title,
            unit=f"{split}, %",
            value=lambda row, split=split: row.group.word_error_rate(split),  # type: ignore[misc]
            shown=percent,
            lowest_is_best=True,
        )
        for split in ("dev", "test")
    )
    blanks: Column[Row] = column(
        "blank_share",
        title="Blank",
        unit="frames of test, %",
        value=lambda row: _blank_share(row.group.first.test),
        shown=percent,
    )
    deletions: Column[Row] = column(
        "deletions_test",
        title="Deleted",
        unit="test, %",
        value=lambda row: _deleted(row.group.first.test.words),
        shown=percent,
    )
    against = comparison_columns(
        "hard", title="vs. hard labels", found=lambda row: row.to_hard, on=(SYSTEMS,)
    )
    return (
        column("system", title="System", value=lambda row: row.group.name, is_text=True),
        *rates,
        column(
            "interval",
            title="95 % interval",
            unit="test, %",
            value=lambda row: row.interval,
            shown=percent_range,
        ),
        deletions,
        *([blanks] if with_blanks else []),
        *(found for found in against if SYSTEMS in found.on),
    )


def _deleted(words: WordErrors) -> float:
    return words.deletions / max(1, words.reference_words)


def _blank_share(split: SplitResult) -> float | None:
    return None if split.greedy is None else split.greedy.blank_share
