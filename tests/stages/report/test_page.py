"""The page: what it shows of its inputs, also of odd names and of many systems."""

from dataclasses import replace
from pathlib import Path

from stages.report.inputs import Made
from tests.support.makers.page import parse, write
from tests.support.makers.report import (
    make_essence,
    make_hard,
    make_inputs,
    make_members,
    make_result,
    make_sweep,
)


def test_line_under_the_title_names_corpus_and_program_and_no_time(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    made = (Made(name="corpus", fingerprint="cd" * 32, settings="{}"),)
    text = parse(write(replace(inputs, made=made), tmp_path / "report")).text
    line = "Corpus spoken cdcdcdcdcdcd: train 0.86 h, dev 0.19 h, test 0.24 h."
    assert f"{line} Written by essence 0.1.0, commit 123." in text


def test_page_shows_all_inputs(whole: Path) -> None:
    text = parse(whole).text
    for wanted in (
        "k=16 tail=bucket",
        "hard labels",
        "gru 5x256",
        "3,280,000",
        "(chosen on dev)",
        "No difference between",
        "essence 0.1.0, commit 123",
        "MAPSSWE",
        "speaker 7",
        "EIGHTY",
        "were saved",
        "no alignment",
        "utt-12",
        "student k=8",
        "62.4",
    ):
        assert wanted in text


def test_html_in_names_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("k")</script>&amp; $\\frac_$'
    inputs = make_inputs(tmp_path, [*make_members(), make_hard(evil), make_essence(4, errors=230)])
    corpus = inputs.corpus.model_copy(update={"source": evil})
    made = (Made(name=evil, fingerprint="ab" * 32, settings=f'"{evil}"'),)
    page = write(replace(inputs, corpus=corpus, made=made), tmp_path / "report", title=evil)
    tags = parse(page)
    assert "script" not in {tag for tag, _ in tags.tags}
    assert tags.text.count(evil) >= 6
    assert "please call <b>seven & nine</b>" in tags.text


def test_names_with_missing_glyphs_are_shown(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path, [make_hard("硬标签"), make_essence(4, errors=230)])
    assert "硬标签" in parse(write(inputs, tmp_path / "report")).text


def test_page_of_a_sweep_has_a_row_for_each_group(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path, make_sweep(num_settings=30, num_seeds=5))
    page = write(inputs, tmp_path / "report")
    text = page.read_text(encoding="utf-8").split("</tbody>")[0]
    assert text.count("<tr") == 1 + 4 + 30 + 1 + 5  # head, headings, essence, hard, others
    assert "5 seeds" in parse(page).text
    assert page.stat().st_size < 3_000_000


def test_training_curves_of_many_models_are_drawn(tmp_path: Path) -> None:
    results = [make_result(f"member {number}", kind="member") for number in range(17)]
    assert (
        write(make_inputs(tmp_path, results), tmp_path / "r").parent / "training-loss.svg"
    ).exists()
