"""Contents of the report: headline, order, table, posteriorgram, compared with known figures."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.acoustic.lang.lang import Lang, Pronunciation, write_lang
from stages.acoustic.models.model_file import load_model
from stages.contract.results import LabelledPart, SystemResult
from stages.report.example import WordSpan, class_names, most_active, read_example, word_spans
from stages.report.figures.rank_figures import draw_ranks, families_of, seed_differences
from stages.report.formats import points
from stages.report.headline import Headline, write_headline
from stages.report.ranking import in_order, role_of
from stages.report.settings import ReportSettings
from stages.report.statistics.comparisons import Comparisons, compare
from stages.report.statistics.groups import group_results
from storage.corpus.corpus_file import CorpusFile
from storage.read.reader import open_store
from tests.support.makers.posteriors import model_posteriors
from tests.support.makers.report import (
    make_all_results,
    make_corpus_summary,
    make_essence,
    make_hard,
    make_inputs,
    make_result,
    make_teacher_summary,
)
from tests.support.makers.scores import with_splits

ENSEMBLE = make_result("ensemble", errors=205, kind="ensemble")


def test_systems_are_in_the_order_of_the_table() -> None:
    names = [result.system.name for result in in_order(make_all_results())]
    assert names == [
        *("conv", "gru", "lstm", "tdnn", "ensemble", "hard labels"),
        *("k=1", "k=1 tail=bucket", "k=2", "k=4", "k=8", "k=8 tail=bucket"),
        *("k=16", "k=16 tail=bucket", "k=32"),
    ]


def test_student_of_hard_weight_one_is_a_hard_label_student() -> None:
    assert role_of(make_hard()) == "hard-label student"
    assert role_of(make_essence(8, errors=1)) == "soft-label student"


def compared(*results: SystemResult, samples: int = 1000) -> Comparisons:
    return compare(group_results(results), samples=samples, seed=1)


def seeds(make: Callable[..., SystemResult], name: str, errors: int, **facts: Any):
    return [make(f"{name} seed={s}", errors=errors + s, seed=s, **facts) for s in (1, 2, 3)]


def essence(name: str, *, errors: int, seed: int = 1, k: int = 8) -> SystemResult:
    facts = {"architecture": "tdnn 5x128", "hard_weight": 0.2, "k": k, "seed": seed}
    return make_result(name, errors=errors, **facts)


def headline_of(comparisons: Comparisons) -> Headline:
    return write_headline(comparisons, train=make_corpus_summary().train)


def test_headline_gives_the_evidence_of_a_shown_difference() -> None:
    found = compared(*seeds(make_hard, "hard labels", 300), *seeds(essence, "k=8", 200), ENSEMBLE)
    headline = headline_of(found)
    to_hard = found.to_hard[found.chosen.key].difference
    assert headline.verdict.startswith("k=8 is better than hard labels on test: −5.00 points (95 %")
    assert f"{points(to_hard.interval.low)} to {points(to_hard.interval.high)}" in headline.verdict
    assert "3 seeds). No difference between k=8 and the ensemble is shown" in headline.verdict
    assert "hard labels 15.10 %" in headline.figures[0]
    assert "9 speakers" in headline.figures[-1]
    assert not any("One seed" in figure for figure in headline.figures)


def test_headline_names_speech_without_hard_labels() -> None:
    found = compared(make_hard(errors=300), make_essence(8, errors=200))
    whole = make_corpus_summary().train
    part = LabelledPart(num_utterances=300, num_frames=103_500, hours=0.29)
    untold = headline_of(found).figures
    told = write_headline(found, train=whole.model_copy(update={"labelled": part})).figures
    assert told[:-1] == untold
    assert told[-1].startswith("0.29 of 0.86 hours of training speech have hard labels;")


def test_headline_names_a_baseline_of_one_seed() -> None:
    found = compared(make_hard(errors=300), *seeds(essence, "k=8", 200))
    figures = headline_of(found).figures
    assert any(figure.startswith("Only one seed was trained of hard labels:") for figure in figures)


def test_headline_says_that_a_student_is_worse() -> None:
    found = compared(*seeds(make_hard, "hard labels", 150), *seeds(essence, "k=8", 300))
    verdict = headline_of(found).verdict
    assert verdict.startswith("k=8 is worse than hard labels on test: +7.50 points")


def test_headline_calls_one_seed_a_hint_however_small_p_is() -> None:
    headline = headline_of(compared(make_hard(errors=150), make_essence(8, errors=300)))
    assert headline.verdict.startswith(
        "A hint, not a proof: k=8 makes more word errors than hard labels"
    )
    found = compared(*seeds(make_hard, "hard labels", 150), make_essence(8, errors=300))
    assert headline_of(found).verdict.startswith("A hint, not a proof: k=8 makes more")
    once = "Only one seed was trained of k=8 and of hard labels:"
    assert any(figure.startswith(once) for figure in headline.figures)
    assert "There is no ensemble to compare with." in headline.figures


def test_curve_over_k_has_one_architecture_and_its_baseline() -> None:
    def wide(name: str, *, errors: int, weight: float) -> SystemResult:
        facts = {"architecture": "conv 5x192", "hard_weight": weight, "k": 8, "seed": 1}
        return make_result(name, errors=errors, **facts)

    narrow = [essence(f"k={k}", k=k, errors=200) for k in (1, 2)]
    best = [wide("k=8 kind=conv", errors=100, weight=0.2), wide("hard", errors=150, weight=1)]
    found = compared(make_hard(errors=300), *best, *narrow)
    assert found.chosen
    assert found.baseline
    assert (found.chosen.architecture, found.baseline.name) == ("conv 5x192", "hard")
    assert [list(family) for family in families_of(found).values()] == [[1, 2]]
    (axes,) = draw_ranks(found).axes
    assert "tdnn 5x128" in axes.get_title()
    (line,) = [line for line in axes.lines if line.get_label() == "hard labels"]
    assert line.get_ydata()[0] == 0
    curve = next(line for line in axes.lines if line.get_label() == "soft labels")
    assert curve.get_ydata() == pytest.approx([-5.0, -5.0])  # 200 and 300 of 2,000 words
    assert [list(family) for family in families_of(compared(*best, narrow[0])).values()] == [[8]]


def test_curve_over_k_shows_the_differences_and_intervals_of_the_table() -> None:
    """Paired, so that the picture does not contradict the headline."""
    hard, ours = seeds(make_hard, "hard labels", 300), seeds(essence, "k=8", 250)
    found = compared(*hard, *ours, ENSEMBLE)
    assert found.chosen is not None
    difference = found.to_hard[found.chosen.key].difference
    one, other = (found.intervals[key] for key in (found.chosen.key, found.baseline.key))
    assert difference.interval.high < 0  # shown, though the rates' own intervals overlap
    assert one.high > other.low
    figure = draw_ranks(found)
    assert figure is not None
    heights = [list(map(float, line.get_ydata())) for line in figure.axes[0].lines]
    low, high = 100 * difference.interval.low, 100 * difference.interval.high
    assert [pytest.approx(low), pytest.approx(high)] in heights
    assert [pytest.approx(100 * difference.delta)] in heights
    found_seeds = seed_differences(found.to_hard[found.chosen.key])
    assert found_seeds == pytest.approx([-2.5] * 3)  # each to the rival of its seed
    assert pytest.approx(found_seeds) in heights


def test_curve_over_k_is_vs_the_ensemble_without_hard_labels() -> None:
    figure = draw_ranks(compared(make_essence(8, errors=200), ENSEMBLE))
    assert figure is not None
    assert figure.axes[0].get_ylabel() == "test WER, points vs. the ensemble"
    assert draw_ranks(compared(make_essence(8, errors=200))) is None


def test_headline_states_parameters_and_bytes() -> None:
    found = compared(make_hard(errors=300), make_essence(8, errors=200), ENSEMBLE)
    store = make_teacher_summary().stores[0]
    verdict = write_headline(found, train=make_corpus_summary().train, store=store).verdict
    size = store.bytes_per_frame[8]
    assert verdict.endswith(
        "k=8 has 820,000 parameters, the ensemble 3,280,000; its soft labels take "
        f"{size:.1f} bytes a frame."
    )
    assert headline_of(found).verdict.endswith("the ensemble 3,280,000.")


def test_headline_calls_two_seeds_a_hint_too() -> None:
    hard, ours = seeds(make_hard, "hard labels", 300), seeds(essence, "k=8", 150)
    assert headline_of(compared(*hard, *ours)).verdict.startswith("k=8 is better than")
    few = headline_of(compared(*hard, *ours[:2])).verdict
    assert few.startswith("A hint, not a proof: k=8 makes fewer word errors than hard labels")


def test_headline_counts_only_settings_that_could_be_chosen() -> None:
    ours, once = seeds(essence, "k=8", 200), essence("k=4", k=4, errors=100)
    other = seeds(lambda name, **facts: essence(name, k=2, **facts), "k=2", 210)
    figure = headline_of(compared(*ours, *other, once)).figures[0]
    assert (
        "chosen on dev among 2 settings of students on soft labels (1 more with too few" in figure
    )
    assert figure.startswith("k=8 was chosen")


def test_headline_claims_no_difference_that_is_not_shown() -> None:
    headline = headline_of(compared(make_hard(errors=222), make_essence(8, errors=220)))
    assert headline.verdict.startswith("No difference between k=8 and hard labels is shown on test")


def test_headline_names_tests_that_disagree() -> None:
    found = compared(make_hard(errors=222), make_essence(8, errors=220))
    (key,) = found.to_hard
    comparison = found.to_hard[key]
    other = replace(comparison, segments=replace(comparison.segments, p=0.01))
    headline = headline_of(replace(found, to_hard={key: other}))
    assert any("disagrees with the bootstrap" in figure for figure in headline.figures)
    assert not any("agree" in figure for figure in headline_of(found).figures)


def test_headline_student_is_chosen_on_dev() -> None:
    lucky = make_essence(2, errors=100)
    lucky = with_splits(lucky, dev=make_essence(2, errors=300).dev)
    headline = headline_of(compared(lucky, make_essence(8, errors=200), make_hard()))
    assert (
        "k=8 was chosen on dev among 2 settings of students on soft labels" in headline.figures[0]
    )
    assert headline.verdict.startswith("A hint, not a proof: k=8 makes fewer")


def test_headline_says_what_is_missing() -> None:
    assert (
        headline_of(compared(make_hard())).verdict
        == "No student on soft labels has been evaluated."
    )
    alone = headline_of(compared(make_essence(8, errors=200)))
    assert alone.verdict.startswith(
        "There is nothing to compare the student on soft labels with. k=8 has 820,000 parameters."
    )
    assert (
        "There are no students on hard labels with this architecture to compare with."
        in alone.figures
    )


def test_most_active_classes_are_in_order_of_time() -> None:
    teacher_TC = np.zeros((6, 9), np.float32)
    teacher_TC[:3, 7], teacher_TC[3:, 2] = 0.9, 0.8
    student_TC = np.zeros_like(teacher_TC)
    student_TC[1:5, 4] = 0.7
    assert most_active(teacher_TC, student_TC, num_classes=3).tolist() == [7, 4, 2]
    assert most_active(teacher_TC, None, num_classes=2).tolist() == [7, 2]


def test_example_shows_posteriors_of_store_and_student(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    example = read_example(
        inputs, ReportSettings(posteriorgram_classes=4), student=inputs.results[0]
    )
    assert example is not None
    assert example.seconds_per_frame == 0.03
    model, _ = load_model(tmp_path / "model", "cpu")
    with CorpusFile(tmp_path / "dev.h5") as corpus:
        index = corpus.index_of(example.utterance)
        logp_TC = model_posteriors(model, corpus, [index])[index]
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


LANG = Lang(
    lexicon=(Pronunciation("A", ("#-A", "A-B")), Pronunciation("B", ("#-B",))),
    units={"SIL": (0,), "#-A": (1, 2), "A-B": (3,), "#-B": (3, 4), "B-A": (3,)},
    arpa="",
    num_classes=6,
)


def test_class_names_are_units_with_the_number_of_the_state() -> None:
    assert list(class_names(LANG, [0, 2, 3, 4, 5])) == [
        "SIL.1 (0)",
        "#-A.2 (2)",
        "A-B.1 #-B.1 ... (3)",
        "#-B.2 (4)",
        "5",
    ]
    assert list(class_names(None, [3])) == ["3"]


def test_words_lie_over_their_frames_by_the_hard_labels() -> None:
    labels = np.array([0, 1, 1, 2, 3, 0, 3, 4, 4], np.int32)
    assert word_spans(LANG, "A B", labels) == (WordSpan("A", 1, 5), WordSpan("B", 6, 9))
    assert word_spans(LANG, "B A", labels) == ()
    assert word_spans(None, "A B", labels) == ()


def test_example_names_the_classes_by_the_lang_of_the_corpus(tmp_path: Path) -> None:
    inputs = make_inputs(tmp_path)
    write_lang(LANG, tmp_path / "lang")
    example = read_example(inputs, ReportSettings(), student=None)
    assert example is not None
    assert example.names_R == tuple(class_names(LANG, example.classes_R.tolist()))
    assert example.words == ()  # the made-up labels spell no words
