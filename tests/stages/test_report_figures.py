"""What the report says: headline, order, table, posteriorgram, against numbers done by hand."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from makers_report import (
    make_all_results,
    make_essence,
    make_hard,
    make_inputs,
    make_members,
    make_result,
)

from stages.report.example import most_active, read_example
from stages.report.headline import write_headline
from stages.report.ranking import best_on_dev, in_order, role_of
from stages.report.settings import ReportSettings
from stages.report.table import as_csv, as_json, change, interval, make_rows, rates
from stages.speech.model_file import load_model
from stages.speech.posteriors import log_posteriors
from storage.corpus_file import CorpusFile
from storage.store_reader import open_store

ENSEMBLE = make_result("ensemble", errors=205, kind="ensemble")


def test_systems_stand_in_the_order_of_the_table() -> None:
    names = [result.system.name for result in in_order(make_all_results())]
    assert names == [
        *("conv", "gru", "lstm", "tdnn", "ensemble", "hard labels"),
        *("k=1", "k=1 tail=bucket", "k=2", "k=4", "k=8", "k=8 tail=bucket"),
        *("k=16", "k=16 tail=bucket", "k=32"),
    ]


def test_a_student_of_hard_weight_one_is_no_essence_student() -> None:
    assert role_of(make_hard()) == "hard-label student"
    assert role_of(make_essence(8, errors=1)) == "essence student"


def test_the_student_of_the_headline_is_chosen_on_dev() -> None:
    lucky = make_essence(2, errors=100)
    lucky = lucky.model_copy(update={"dev": make_essence(2, errors=300).dev})
    steady = make_essence(8, errors=200)
    assert best_on_dev([lucky, steady]) is steady
    assert "k=8, the best on dev of 2" in write_headline([lucky, steady, make_hard()]).figures[0]


@pytest.mark.parametrize(
    ("ours", "hard", "ensemble", "verdict", "margin"),
    [
        (
            *(200, 300, 200),
            "fewer word errors than the hard-label student and as many as the ensemble.",
            "The difference to the ensemble is within the margin of error.",
        ),
        (
            *(310, 300, 200),
            "more word errors than the hard-label student and more than the ensemble.",
            "The difference to the hard-label student is within the margin of error.",
        ),
        (
            *(210, 220, 205),
            "fewer word errors than the hard-label student and more than the ensemble.",
            "Both differences are within the margin of error.",
        ),
        (
            *(100, 300, 205),
            "fewer word errors than the hard-label student and fewer than the ensemble.",
            "The differences lie outside the 95 % intervals.",
        ),
        (
            *(200, 200, 300),
            "as many word errors as the hard-label student and fewer than the ensemble.",
            "The difference to the hard-label student is within the margin of error.",
        ),
    ],
)
def test_the_headline_says_what_the_numbers_say(
    ours: int, hard: int, ensemble: int, verdict: str, margin: str
) -> None:
    rivals = [make_hard(errors=hard), make_result("all", errors=ensemble, kind="ensemble")]
    found = write_headline([*rivals, make_essence(8, errors=ours)]).verdict
    assert found == f"On the test set, the essence student makes {verdict} {margin}"


def test_the_headline_carries_intervals_and_what_they_mean() -> None:
    headline = write_headline([make_hard(errors=300), make_essence(8, errors=200), ENSEMBLE])
    own, hard, ensemble = headline.figures
    assert own == "k=8 has a word error rate of 10.00 % (95 % interval 8.70 to 11.40)."
    assert "15.00 % (95 % interval 13.70 to 16.40)" in hard
    assert "makes 33.3 % fewer errors. The intervals do not overlap." in hard
    assert "The intervals overlap: this test set alone does not tell the two apart." in ensemble


def test_the_headline_says_what_is_missing() -> None:
    student = make_essence(8, errors=200)
    assert write_headline([make_hard()]).verdict == "No essence student has been evaluated."
    assert "nothing to be compared with" in write_headline([student]).verdict
    one = write_headline([student, make_hard(errors=290)])
    assert one.verdict.endswith(
        "fewer word errors than the hard-label student. "
        "The difference lies outside the 95 % intervals."
    )
    assert "There is no ensemble to compare with." in one.figures


def test_change_is_relative_to_the_hard_label_student() -> None:
    rows = make_rows([make_hard(errors=250), make_essence(8, errors=200), ENSEMBLE])
    assert {row.system: change(row) for row in rows} == {
        "ensemble": "–",
        "hard labels": "–",
        "k=8": "−20.0",
    }
    assert interval(rows[-1]) == "8.70 to 11.40"


def test_without_a_hard_label_student_nothing_is_relative() -> None:
    rows = make_rows([make_essence(8, errors=200), *make_members()])
    assert {row.change_to_hard for row in rows} == {None}


def test_all_that_look_best_are_best() -> None:
    rows = make_rows([make_essence(1, errors=210), make_essence(2, errors=210), make_hard()])
    cells = rates(rows, "wer_test", scale=100, digits=2)
    assert [cell.is_best for cell in cells] == [False, True, True]


def test_csv_and_json_hold_the_table() -> None:
    rows = make_rows(make_all_results())
    read = list(csv.DictReader(as_csv(rows).splitlines()))
    assert [line["system"] for line in read] == [row.system for row in rows]
    assert float(read[-1]["wer_test"]) == rows[-1].wer_test
    assert read[0]["change_to_hard"] == ""
    assert json.loads(as_json(rows))[-1]["k"] == 32


def test_the_most_active_classes_stand_in_the_order_of_time() -> None:
    teacher_TC = np.zeros((6, 9), np.float32)
    teacher_TC[:3, 7], teacher_TC[3:, 2] = 0.9, 0.8
    student_TC = np.zeros_like(teacher_TC)
    student_TC[1:5, 4] = 0.7
    assert most_active(teacher_TC, student_TC, num_classes=3).tolist() == [7, 4, 2]
    assert most_active(teacher_TC, None, num_classes=2).tolist() == [7, 2]


def test_the_example_shows_what_store_and_student_say(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    example = read_example(inputs, ReportSettings(posteriorgram_classes=4))
    assert example is not None
    assert example.seconds_per_frame == 0.03
    model, _ = load_model(tmp_path / "model", "cpu")
    with CorpusFile(tmp_path / "dev.h5") as corpus:
        index = corpus.index_of(example.utterance)
        ((_, logp_TC),) = log_posteriors(model, corpus, [index], 100, "cpu")
        labels_T = corpus.labels(index)
    student_TR = np.exp(logp_TC)[:, example.classes_R]
    np.testing.assert_allclose(example.student_TR, student_TR, rtol=1e-6)
    soft = open_store(tmp_path / "dev.zarr").read_utterance(example.utterance, 3)
    for frame in (0, 5, len(labels_T) - 1):
        stored = dict(zip(soft.ids_TK[frame], np.exp(soft.logp_TK[frame]), strict=True))
        wanted = [stored.get(c, 0.0) for c in example.classes_R.astype(np.uint32)]
        np.testing.assert_allclose(example.teacher_TR[frame], wanted, rtol=1e-6)
    known = example.labels_T >= 0
    assert known.any()
    assert (example.classes_R[example.labels_T[known]] == labels_T[known]).all()
