"""Exported students on the page: after the ensemble, in torch and as exported."""

from dataclasses import replace
from pathlib import Path

from stages.report.inputs import ExportedModel, ReportInputs
from stages.report.statistics.bootstrap import Interval
from tests.support.makers.page import only, parse, write
from tests.support.makers.report import make_essence, make_hard, make_inputs, make_members


def _exported(student: str, precision: str, num_bytes: int) -> ExportedModel:
    return ExportedModel(
        student=student,
        precision=precision,
        num_bytes=num_bytes,
        wer_dev=0.101,
        wer_test=0.123,
        interval=Interval(low=0.1, high=0.15),
    )


def _inputs(directory: Path, *precisions: str) -> ReportInputs:
    student = make_essence(8, errors=200)
    inputs = only(make_inputs(directory), *make_members(), make_hard(), student)
    found = (_exported(student.system.fingerprint, each, 123_457) for each in precisions)
    return replace(inputs, exported=tuple(found))


def test_page_without_exports_has_no_table_of_them(tmp_path: Path) -> None:
    assert "Exported students" not in parse(write(_inputs(tmp_path), tmp_path / "r")).text


def test_page_shows_exports_after_the_ensemble_and_their_student(tmp_path: Path) -> None:
    text = parse(write(_inputs(tmp_path, "int8", "float32"), tmp_path / "r")).text
    part = text[text.rindex("Form") :]
    rows = ["ensemble", "torch, float32", "ONNX, float32", "ONNX, int8"]
    places = [part.index(row) for row in rows]
    assert places == sorted(places)
    assert "123,457" in part
    assert "10.00 to 15.00" in part


def test_exports_of_students_that_are_not_shown_are_left_out(tmp_path: Path) -> None:
    inputs = replace(_inputs(tmp_path), exported=(_exported("f" * 64, "int8", 5),))
    assert "ONNX" not in parse(write(inputs, tmp_path / "r")).text
