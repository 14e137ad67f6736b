"""Tables of greedy decoding: rates, intervals and tests are the bootstrap's, of its counts."""

import pytest

from stages.contract.results import GreedyResult, SystemResult
from stages.report.greedy_table import greedy_tables
from stages.report.settings import ReportSettings
from stages.report.statistics.bootstrap import Bootstrap
from tests.support.makers.report import make_result, make_split

SETTINGS = ReportSettings(bootstrap_samples=200)


def _with_greedy(result: SystemResult, errors: int) -> SystemResult:
    utterances = make_split("test", errors, seed=3).utterances
    greedy = GreedyResult(tokens=utterances, characters=None, words=utterances, blank_share=0.6)
    parts = {
        name: getattr(result.evaluation, name).model_copy(update={"greedy": greedy})
        for name in ("dev", "test")
    }
    evaluation = result.evaluation.model_copy(update=parts)
    return SystemResult(system=result.system, evaluation=evaluation)


def test_corpus_of_frames_has_no_tables() -> None:
    assert greedy_tables([make_result("k=8", k=8, hard_weight=0.2)], SETTINGS) == []


def test_table_has_rates_intervals_and_tests_of_its_measure() -> None:
    taught = _with_greedy(make_result("k=8", errors=200, k=8, hard_weight=0.2), 120)
    hard = _with_greedy(make_result("hard labels", errors=300, hard_weight=1.0), 400)
    tables = greedy_tables([taught, hard], SETTINGS)
    assert [each.title for each in tables] == ["Token error", "Word error, greedy"]
    table = tables[0].table
    heads = [column.key for column in table.columns]
    rows = {row.cells[0].text: row for row in table.rows if row.cells[0]}
    cells = dict(zip(heads, rows["k=8"].cells, strict=True))
    rivals = dict(zip(heads, rows["hard labels"].cells, strict=True))
    utterances = make_split("test", 120, seed=3).utterances
    draws = Bootstrap(utterances, samples=200, seed=SETTINGS.seed)
    interval = draws.interval(draws.pool([make_split("test", 120, seed=3)]))
    shown = {key: "" if cell is None else cell.text for key, cell in cells.items()}
    assert shown["rate_test"] == "6.00"
    low, high = (float(each) for each in shown["interval"].split(" to "))
    assert (low, high) == pytest.approx((100 * interval.low, 100 * interval.high), abs=0.006)
    assert shown["hard"].endswith("14.00")
    assert rivals["hard"] is None
    assert shown["blank_share"] == "60.00"
    assert "blank_share" not in [column.key for column in tables[1].table.columns]
