"""Data files: CSV, JSON and Markdown next to the page, for other programs and documents."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from stages.report.column import make_records, make_table
from stages.report.columns import columns_on
from stages.report.comparisons_json import as_json
from stages.report.markdown import as_markdown
from stages.report.places import GROUPS, RESULTS, SYSTEMS
from stages.report.rows import Row, group_rows, seed_rows
from stages.report.statistics.comparisons import Comparisons
from stages.report.word_analysis import Slice, by_speaker, by_word_class, confusions
from storage.care.store_audit import StoreAudit

MOST_CONFUSIONS = 1000  # of a group
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def _as_csv(place: str, rows: Sequence[Row]) -> str:
    columns = columns_on(place)
    records = make_records(columns, rows)
    return _csv([found.key for found in columns], (record.values() for record in records))


def _as_json(place: str, rows: Sequence[Row]) -> str:
    return json.dumps(make_records(columns_on(place), rows), indent=2, ensure_ascii=False) + "\n"


def _slices(part: str, slices: Sequence[Slice]) -> str:
    rows = [(found.part, found.group, found.words, found.errors) for found in slices]
    return _csv([part, "group", "words", "errors"], rows)


def _confusions(comparisons: Comparisons) -> str:
    found = confusions(comparisons.groups, most=MOST_CONFUSIONS)
    rows = [(item.group, item.reference, item.hypothesis, item.count) for item in found]
    return _csv(["group", "reference", "hypothesis", "count"], rows)


def _csv(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """One line for each row; unknown values (None) are empty."""
    text = io.StringIO()
    plain = ([no_formula(value) for value in row] for row in rows)
    csv.writer(text, lineterminator="\n").writerows([head, *plain])
    return text.getvalue()


def no_formula(value: object) -> object:
    """`value`, or text that a spreadsheet would run as a formula after an apostrophe (OWASP)."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value


@dataclass(frozen=True, slots=True)
class Found:
    """What data files are made of; `store` is the audit of the train store."""

    comparisons: Comparisons
    store: StoreAudit | None = None

    @property
    def groups(self) -> list[Row]:
        """A row for each group."""
        return group_rows(self.comparisons, store=self.store)

    @property
    def seeds(self) -> list[Row]:
        """A row for each seed."""
        return seed_rows(self.comparisons)


DATA_FILES: dict[str, Callable[[Found], str]] = {
    "systems.md": lambda found: as_markdown(make_table(columns_on(SYSTEMS), found.groups)),
    "results.csv": lambda found: _as_csv(RESULTS, found.seeds),
    "results.json": lambda found: _as_json(RESULTS, found.seeds),
    "groups.csv": lambda found: _as_csv(GROUPS, found.groups),
    "groups.json": lambda found: _as_json(GROUPS, found.groups),
    "comparisons.json": lambda found: as_json(found.comparisons),
    "speakers.csv": lambda found: _slices("speaker", by_speaker(found.comparisons.groups)),
    "word-classes.csv": lambda found: _slices("class", by_word_class(found.comparisons.groups)),
    "confusions.csv": lambda found: _confusions(found.comparisons),
}
