"""Data files: what stands beside the page for other programs, by name."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, fields

from stages.report.group_table import GroupRow, make_group_rows
from stages.report.statistics.comparisons import Comparisons, as_json
from stages.report.table import Row, make_rows
from stages.report.word_analysis import by_speaker, by_word_class, confusions

MOST_CONFUSIONS = 1000  # of a group


def _speakers(comparisons: Comparisons) -> str:
    rows = [
        (part.part, part.group, part.words, part.errors) for part in by_speaker(comparisons.groups)
    ]
    return _csv(("speaker", "group", "words", "errors"), rows)


def _word_classes(comparisons: Comparisons) -> str:
    rows = [
        (part.part, part.group, part.words, part.errors)
        for part in by_word_class(comparisons.groups)
    ]
    return _csv(("class", "group", "words", "errors"), rows)


def _confusions(comparisons: Comparisons) -> str:
    rows = [
        (item.group, item.said, item.heard, item.count)
        for item in confusions(comparisons.groups, most=MOST_CONFUSIONS)
    ]
    return _csv(("group", "said", "heard", "count"), rows)


def _rows_as_csv(kind: type[Row | GroupRow], rows: Sequence[Row | GroupRow]) -> str:
    return _csv(tuple(field.name for field in fields(kind)), map(astuple, rows))


def _rows_as_json(rows: Sequence[Row | GroupRow]) -> str:
    return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n"


def _csv(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> str:
    """A line a row; unknown values (None) are empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


DATA_FILES: dict[str, Callable[[Comparisons], str]] = {
    "results.csv": lambda found: _rows_as_csv(Row, make_rows(found)),
    "results.json": lambda found: _rows_as_json(make_rows(found)),
    "groups.csv": lambda found: _rows_as_csv(GroupRow, make_group_rows(found)),
    "groups.json": lambda found: _rows_as_json(make_group_rows(found)),
    "comparisons.json": as_json,
    "speakers.csv": _speakers,
    "word-classes.csv": _word_classes,
    "confusions.csv": _confusions,
}
