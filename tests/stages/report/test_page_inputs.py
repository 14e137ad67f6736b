"""Inputs of a page: it is written of few systems and unknown figures; what is wrong is named."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from stages.contract.errors import BadInput, MissingPart
from stages.contract.results import FrameErrors, SystemResult
from storage.errors import StoreMismatch
from tests.support.makers.page import only, only_read, parse, write
from tests.support.makers.report import (
    make_dev_corpus,
    make_essence,
    make_hard,
    make_inputs,
    make_members,
    make_split,
)
from tests.support.makers.scores import with_splits

UNLABELLED = FrameErrors(num_frames=10, frame_error=None, cross_entropy=None)


@pytest.mark.parametrize(
    "results",
    [
        (),
        tuple(make_members()),
        (make_hard(),),
        (make_essence(8, errors=200),),
        (make_hard(), make_essence(8, errors=200)),
        (make_hard(), make_hard("more labels"), make_essence(8, errors=200)),
        (make_essence(8, errors=200), make_essence(8, errors=210, tail="bucket")),
    ],
)
def test_page_of_few_systems_is_written(tmp_path: Path, results: tuple[SystemResult, ...]) -> None:
    inputs = only(make_inputs(tmp_path), *results)
    page = write(replace(inputs, teacher=None), tmp_path / "report")
    parse(page)
    kinds = {r.system.facts.hard_weight for r in results}
    assert (page.parent / "word-errors.svg").exists() == (kinds >= {0.2, 1.0})
    assert not (page.parent / "posteriorgram.svg").exists()


def test_unknown_figures_are_dashes(tmp_path: Path) -> None:
    nothing = {"reference_words": 0, "insertions": 0, "deletions": 0, "substitutions": 0}
    blank = make_split("dev", 10, frames=UNLABELLED, utterances=())
    empty = blank.model_copy(update={"words": blank.words.model_copy(update=nothing)})
    results = [
        replace(with_splits(r, dev=empty, test=empty), frames=None)
        for r in (make_hard(), make_essence(2, errors=10))
    ]
    page = write(only(make_inputs(tmp_path), *results), tmp_path / "report")
    body = page.read_text(encoding="utf-8").split("<tbody>")[1].split("</tbody>")[0]
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", body)
    # dev, test, interval, both differences with their p; k and bytes of the hard-label student
    assert cells.count("–") == 2 * 7 + 2
    assert "best" not in body
    assert "word error rates are unknown" in parse(page).text


def test_missing_or_malformed_history_is_named(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path, [make_hard()])
    with pytest.raises(MissingPart, match=r"gone\.jsonl is not there"):
        write(replace(inputs, histories={"hard labels": tmp_path / "gone.jsonl"}), tmp_path / "r")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"epoch": 1}\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"broken\.jsonl:1: .*wanted one epoch"):
        write(replace(inputs, histories={"hard labels": broken}), tmp_path / "r")


def test_utterance_of_the_settings_is_shown(tmp_path: Path, whole: Path) -> None:
    assert "Utterance dev-1 of dev" in parse(whole).text
    inputs = only_read(make_inputs(tmp_path), make_essence(8, errors=200))
    page = write(inputs, tmp_path / "b", utterance="dev-3")
    assert "Utterance dev-3 of dev" in parse(page).text
    for wrong in ("dev-9", "dev-2"):  # not there; without frames
        with pytest.raises(BadInput, match=rf"report\.utterance is '{wrong}'"):
            write(inputs, tmp_path / "c", utterance=wrong)


def test_store_of_another_corpus_is_refused(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    make_dev_corpus(tmp_path, seconds=1.7).close()
    with pytest.raises(StoreMismatch, match="corpus_fingerprint"):
        write(inputs, tmp_path / "report")


def test_example_without_a_student_shows_the_teacher_only(tmp_path: Path) -> None:
    page = write(make_inputs(tmp_path, make_members()), tmp_path / "report")
    assert (page.parent / "posteriorgram.svg").exists()
    assert "or student" not in parse(page).text


def test_systems_evaluated_on_other_utterances_are_refused(tmp_path: Path) -> None:
    hard, essence = make_hard(), make_essence(8, errors=200)
    fewer = essence.test.model_copy(update={"utterances": essence.test.utterances[1:]})
    inputs = make_inputs(tmp_path, [hard, with_splits(essence, test=fewer)])
    with pytest.raises(BadInput, match="not evaluated on the same utterances"):
        write(inputs, tmp_path / "report")
