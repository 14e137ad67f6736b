"""A column is declared once: page, terminal, CSV and JSON follow."""

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.terminal.tables import results_table
from stages.contract.latency import FrontEnd, Latency
from stages.contract.results import SystemResult
from stages.report import columns
from stages.report.column import Cell, column, make_records, make_table
from stages.report.columns import COLUMNS
from stages.report.data_files import DATA_FILES, Found, _csv
from stages.report.formats import fixed, p_value, percent
from stages.report.places import FRAMES, GROUPS, RESULTS, SEEDS, SYSTEMS, TERMINAL
from stages.report.rows import Row, group_rows
from stages.report.statistics.comparisons import Comparisons, compare
from stages.report.statistics.groups import group_results
from tests.support.makers.page import SETTINGS, only, parse, write
from tests.support.makers.report import (
    make_essence,
    make_hard,
    make_inputs,
    make_result,
    make_sweep,
)
from tests.support.paths import ROOT

WRITERS = (
    "stages/report/page.py",
    "stages/report/page.html",
    "stages/report/data_files.py",
    "pipeline/terminal/tables.py",
)


def compared(results: Sequence[SystemResult], samples: int = 200) -> Comparisons:
    return compare(group_results(results), samples=samples, seed=1)


@pytest.mark.parametrize("over", ["", "speaker"])
def test_latency_is_on_the_page_with_what_it_leaves_out(tmp_path: Path, over: str) -> None:
    front_end = FrontEnd(frame_ms=10.0, frames_per_row=2, look_ahead=5, normalised_over=over)
    results = [
        replace(result, system=replace(result.system, latency=latency))
        for result, latency in (
            (make_hard(), Latency(right_context=math.inf, front_end=front_end)),
            (make_essence(8, errors=221), Latency(right_context=4, front_end=front_end)),
        )
    ]
    place = tmp_path / "report"
    text = parse(write(only(make_inputs(tmp_path), *results), place)).text
    assert "140" in text
    assert "14 frames" in text
    assert "utterance" in text
    assert ("normalised by the mean over each speaker, which looks ahead" in text) == bool(over)
    rows = {row["kind"]: row for row in json.loads((place / "groups.json").read_text())}
    assert rows["soft-label student"]["latency_ms"] == 140
    assert rows["hard-label student"]["latency_ms"] is None


def test_new_column_of_one_declaration_is_on_page_terminal_csv_and_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everywhere = (GROUPS, RESULTS, SYSTEMS, FRAMES, SEEDS, TERMINAL)
    new = column(
        "deletion_rate_test",
        title="Deletion rate",
        unit="test, per thousand",
        value=lambda row: row.group.first.test.words.deletions / 2000,
        shown=fixed(1, scale=1000),
        on=everywhere,
    )
    monkeypatch.setattr(columns, "COLUMNS", (*COLUMNS, new))
    results = [make_hard(), make_essence(8, errors=221)]
    found = compared(results)
    wanted = [result.test.words.deletions / 2000 for result in results]
    assert all(wanted)
    for name in ("results", "groups"):
        from_csv = csv.DictReader(DATA_FILES[f"{name}.csv"](Found(found)).splitlines())
        from_json = json.loads(DATA_FILES[f"{name}.json"](Found(found)))
        assert [float(row["deletion_rate_test"]) for row in from_csv] == wanted
        assert [row["deletion_rate_test"] for row in from_json] == wanted
    head, _, *lines = results_table(results, SETTINGS).splitlines()
    assert head.endswith("Deletion rate")
    assert [line.split()[-1] for line in lines] == [f"{1000 * value:.1f}" for value in wanted]
    page = parse(write(make_inputs(tmp_path, results), tmp_path / "report"))
    assert page.text.count("Deletion rate") == 3
    assert page.text.count(f"{1000 * wanted[1]:.1f}") >= 3


def test_columns_are_named_in_no_writer() -> None:
    # The chosen row is coloured, so the page reads that fact itself.
    keys = {found.key for found in COLUMNS if "_" in found.key} - {"is_chosen"}
    assert {"wer_test", "frame_error_dev", "hard_delta", "ensemble_p"} < keys
    for writer in WRITERS:
        text = (ROOT / writer).read_text(encoding="utf-8")
        assert not [key for key in keys if key in text], writer


def test_metric_is_in_three_files_where_it_is_measured_stored_and_shown() -> None:
    rooms = [ROOT / "stages" / room for room in ("contract", "evaluate", "report")]
    sources = [path for room in (*rooms, ROOT / "pipeline") for path in room.rglob("*.*")]
    found = {
        str(path.relative_to(ROOT))
        for path in sources
        if path.suffix in (".py", ".html")
        and re.search(r"\bcross_entropy\b", path.read_text(encoding="utf-8"))
    }
    assert found == {
        "stages/evaluate/frames.py",
        "stages/contract/results.py",
        "stages/report/frame_columns.py",
    }


def test_keys_of_a_data_file_are_unique_and_its_columns_are_in_a_place() -> None:
    for place in (GROUPS, RESULTS):
        counts = Counter(found.key for found in columns.columns_on(place))
        assert counts.most_common(1)[0][1] == 1
    assert all(found.on for found in COLUMNS)


def test_best_style_marks_all_cells_that_are_shown_equal() -> None:
    table = make_table(
        [column("error", value=lambda row: row, shown=percent, lowest_is_best=True)],
        [0.131, 0.10501, None, 0.10504],
    )
    assert [row.cells[0] for row in table.rows] == [
        Cell(text="13.10"),
        Cell(text="10.50", style="best"),
        None,
        Cell(text="10.50", style="best"),
    ]


def test_table_without_rows_has_heads() -> None:
    table = make_table([column("error", title="Error", value=lambda row: row)], [])
    assert table.rows == ()
    assert [found.title for found in table.columns] == ["Error"]


@pytest.mark.parametrize(
    ("p", "text"),
    [(0.5, "0.50"), (0.0499, "0.050"), (0.0123, "0.012"), (0.0004, "0.0004"), (1e-9, "<0.0001")],
)
def test_p_values_have_significant_digits_only(p: float, text: str) -> None:
    assert p_value(p) == text


def seeds_of(name: str, errors: int, *, weight: float) -> list[SystemResult]:
    facts = {"architecture": "tdnn 5x128", "hard_weight": weight, "k": 8}
    return [
        make_result(f"{name} seed={seed}", errors=errors + seed, seed=seed, **facts)
        for seed in (1, 2, 3)
    ]


def test_group_records_hold_means_and_comparisons() -> None:
    ensemble = make_result("ensemble", errors=205, kind="ensemble")
    students = [*seeds_of("hard labels", 300, weight=1.0), *seeds_of("k=8", 200, weight=0.2)]
    rows: list[Row] = group_rows(compared([*students, ensemble], samples=1000))
    records = {str(r["group"]): r for r in make_records(columns.columns_on(GROUPS), rows)}
    assert records.keys() == {"ensemble", "hard labels", "k=8"}
    own = records["k=8"]
    assert (own["num_seeds"], own["seeds"], own["k"], own["is_chosen"]) == (3, "1 2 3", 8, True)
    assert own["wer_test"] == pytest.approx(0.101)
    assert own["hard_delta"] == pytest.approx(-0.05)
    assert own["hard_rival"] == "hard labels"
    assert own["wer_test_low"] < own["wer_test"] < own["wer_test_high"]  # type: ignore[operator]
    assert own["agreement"] == pytest.approx(0.7 + 0.25 * (1 - 202 / 400))
    assert records["hard labels"]["hard_delta"] is None
    assert not records["hard labels"]["is_chosen"]
    assert records["ensemble"]["ensemble_delta"] is None


def test_data_files_hold_every_system_and_group() -> None:
    found = compared(make_sweep(num_settings=7, num_seeds=2))
    read = {
        name: list(csv.DictReader(as_text(Found(found)).splitlines()))
        for name, as_text in DATA_FILES.items()
        if name.endswith(".csv")
    }
    assert len(read["results.csv"]) == 7 * 2 + 2 + 5
    assert len(read["groups.csv"]) == 7 + 1 + 5
    assert len(json.loads(DATA_FILES["comparisons.json"](Found(found)))["groups"]) == 13
    assert len(json.loads(DATA_FILES["groups.json"](Found(found)))) == 13
    assert len(json.loads(DATA_FILES["results.json"](Found(found)))) == 21
    assert len(read["speakers.csv"]) == 9 * 13
    speakers = [row for row in read["speakers.csv"] if row["group"] == "hard labels"]
    total = sum(float(row["errors"]) for row in speakers) / sum(int(r["words"]) for r in speakers)
    (hard,) = (row for row in read["groups.csv"] if row["group"] == "hard labels")
    assert total == pytest.approx(float(hard["wer_test"]))


def test_recovery_margin_and_holm_are_on_the_page_with_the_systems_that_they_need(
    tmp_path: Path,
) -> None:
    full = [
        replace(
            r, system=replace(r.system, full_corpus="f" * 64, fingerprint=f"full {n}", group="f")
        )
        for n, r in enumerate([make_hard(errors=120, seed=1), make_hard(errors=125, seed=2)])
    ]
    essence = [make_essence(8, errors=200), make_essence(4, errors=210)]
    results = [make_hard(errors=300), *essence, *full, make_result("ensemble", kind="ensemble")]
    place = tmp_path / "report"
    text = parse(write(only(make_inputs(tmp_path), *results), place, margin=0.5)).text
    assert "Students on hard labels of all speech" in text
    assert "of what transcripts of all speech would gain" in text
    assert "after Holm's correction over the family of all 2 rows" in text
    rows = [r for r in json.loads((place / "groups.json").read_text()) if r["recovery"] is not None]
    assert "k=8 is non-inferior to the ensemble, by a margin of 0.50 points" in text
    assert [row["kind"] for row in rows] == ["soft-label student"] * 2
    full_errors = (120 + 125) / 2
    assert rows[0]["recovery"] == pytest.approx((300 - 210) / (300 - full_errors))
    assert all(row["hard_p_holm"] >= row["hard_p"] for row in rows)


@pytest.mark.parametrize("name", ["=cmd()", "+1+1", "-x", "@sum", "\tx"])
def test_csv_cell_is_never_a_formula(name: str) -> None:
    text = _csv(["student", "wer"], [(name, 0.5), ("a", -0.5)])
    assert list(csv.reader(text.splitlines()))[1:] == [[f"'{name}", "0.5"], ["a", "-0.5"]]
