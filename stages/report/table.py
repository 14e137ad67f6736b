"""results -> table: one row a system, as numbers, as text, as results.csv and results.json."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

from stages.report.ranking import (
    SHOWN_FACTS,
    best_on_dev,
    describe,
    in_order,
    kept_of,
    of_role,
    role_of,
    word_error_rate,
)
from stages.speech.results import SystemResult

DASH = "–"
MINUS = "−"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A system in figures. Rates are fractions; None is unknown, or does not apply."""

    system: str
    kind: str
    details: str
    k: int | None
    parameters: int | None
    frame_error_dev: float | None
    cross_entropy_dev: float | None  # nats a frame
    wer_dev: float | None
    wer_test: float | None
    wer_test_low: float | None  # 95 % interval
    wer_test_high: float | None
    insertions_test: int
    deletions_test: int
    substitutions_test: int
    reference_words_test: int
    change_to_hard: float | None  # of a student's test WER, relative to the hard-label student
    acoustic_scale: float
    insertion_penalty: float
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Cell:
    """Text of a cell. `is_best` where no other system has a smaller number."""

    text: str
    is_best: bool = False


def make_rows(results: Sequence[SystemResult]) -> list[Row]:
    """Rows in order: members, ensemble, hard-label student, essence students by k."""
    hard = best_on_dev(of_role(results, "hard-label student"))
    return [_row(result, hard) for result in in_order(results)]


def _row(result: SystemResult, hard: SystemResult | None) -> Row:
    test, rate = result.test, word_error_rate(result.test)
    known = rate is not None
    return Row(
        system=result.system.name,
        kind=role_of(result),
        details=describe(result, SHOWN_FACTS),
        k=kept_of(result),
        parameters=result.num_parameters,
        frame_error_dev=result.dev.frame_error,
        cross_entropy_dev=result.dev.cross_entropy,
        wer_dev=word_error_rate(result.dev),
        wer_test=rate,
        wer_test_low=test.rate_low if known else None,
        wer_test_high=test.rate_high if known else None,
        insertions_test=test.words.insertions,
        deletions_test=test.words.deletions,
        substitutions_test=test.words.substitutions,
        reference_words_test=test.words.reference_words,
        change_to_hard=_change(result, hard),
        acoustic_scale=result.acoustic_scale,
        insertion_penalty=result.insertion_penalty,
        fingerprint=result.system.fingerprint,
    )


def _change(result: SystemResult, hard: SystemResult | None) -> float | None:
    if hard is None or result is hard or result.system.kind != "student":
        return None
    rate, hard_rate = word_error_rate(result.test), word_error_rate(hard.test)
    return rate / hard_rate - 1 if rate is not None and hard_rate else None


def rates(rows: Sequence[Row], column: str, *, scale: float, digits: int) -> list[Cell]:
    """The cells of a column where less is better; the smallest *shown* number is best."""
    values = [getattr(row, column) for row in rows]
    shown = [None if v is None else round(scale * v, digits) for v in values]
    best = min((v for v in shown if v is not None), default=None)
    return [
        Cell(DASH if v is None else f"{v:.{digits}f}", v is not None and v == best) for v in shown
    ]


def interval(row: Row) -> str:
    """`10.02 to 12.40`, in per cent."""
    if row.wer_test_low is None or row.wer_test_high is None:
        return DASH
    return f"{100 * row.wer_test_low:.2f} to {100 * row.wer_test_high:.2f}"


def change(row: Row) -> str:
    """`−13.8`, in per cent, with its sign."""
    if row.change_to_hard is None:
        return DASH
    return f"{100 * row.change_to_hard:+.1f}".replace("-", MINUS)


def as_csv(rows: Sequence[Row]) -> str:
    """The rows as CSV; unknown values are empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue()


def as_json(rows: Sequence[Row]) -> str:
    """The rows as a JSON list."""
    return json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n"
