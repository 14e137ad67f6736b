"""Word errors by speaker and class, and plans of pictures, compared with counts by hand."""

import pytest

from stages.report.costs import count_teacher_passes
from stages.report.figures.difference_figure import MOST_ROWS, rows_of_figure
from stages.report.figures.fidelity_figure import degrees
from stages.report.figures.pareto_figure import front
from stages.report.figures.rank_figures import families_of
from stages.report.rows import bytes_per_frame
from stages.report.statistics.comparisons import compare
from stages.report.statistics.groups import group_results
from stages.report.word_analysis import (
    by_speaker,
    by_word_class,
    class_of,
    confusions,
    worst_utterances,
)
from stages.report.word_page import slice_rows, word_sections
from tests.support.makers.report import make_teacher_summary
from tests.support.makers.scores import make_scored, make_utterance


def make_group(*hypotheses, name="k=8", k=8, seeds=1, weight=0.5):
    """Two utterances of two speakers; `hypotheses` has the words of each seed."""
    said = [("u1", "A B SEVEN", "anna"), ("u2", "PLEASE E NINE 42", "bert")]
    results = [
        make_scored(
            f"{name} seed={seed}",
            [
                make_utterance(id, text, heard, speaker=speaker)
                for (id, text, speaker), heard in zip(said, heard_by_seed, strict=True)
            ],
            k=k,
            hard_weight=weight,
            seed=seed,
        )
        for seed, heard_by_seed in enumerate(hypotheses, start=1)
    ]
    (group,) = group_results(results)
    return group


TWO_SEEDS = [
    ("A SEVEN", "PLEASE THREE NINE 42 U"),  # B deleted, E replaced by THREE, U inserted
    ("A B SEVEN", "PLEASE THREE NINE 42"),
]


def test_words_are_letters_numbers_or_others():
    found = {word: class_of(word) for word in ("a", "Z", "A.", "SEVEN", "4th", "twentieth", "am")}
    assert found == {
        "a": "letters", "Z": "letters", "A.": "letters", "SEVEN": "numbers", "4th": "numbers",
        "twentieth": "numbers", "am": "other words",
    }  # fmt: skip


def test_errors_are_counted_by_speaker_and_class():
    group = make_group(*TWO_SEEDS)
    assert {s.part: (s.words, s.errors) for s in by_speaker([group])} == {
        "anna": (3, 0.5), "bert": (4, 1.5),
    }  # fmt: skip
    assert {s.part: (s.words, s.errors) for s in by_word_class([group])} == {
        "letters": (3, 2.0), "numbers": (3, 0), "other words": (1, 0),
    }  # fmt: skip


def test_confusions_are_most_frequent_first():
    found = confusions([make_group(*TWO_SEEDS)], most=2)
    assert [(c.reference, c.hypothesis, c.count) for c in found] == [
        ("E", "THREE", 1),
        ("", "U", 0.5),
    ]


def test_worst_utterances_are_shown_next_to_those_of_rivals():
    group, rival = make_group(*TWO_SEEDS), make_group(("A B SEVEN", ""), name="hard labels")
    first, second = worst_utterances(group, [rival], most=5)
    assert (first.id, first.errors, second.id, second.errors) == ("u2", 1.5, "u1", 0.5)
    assert second.pairs == (("A", "A"), ("B", ""), ("SEVEN", "SEVEN"))
    assert first.rivals[0][0] == "hard labels seed=1"
    assert [heard for _, heard in first.rivals[0][1]] == [""] * 4
    assert len(worst_utterances(group, [], most=1)) == 1


def test_difference_is_between_chosen_group_and_baseline():
    group, rival = make_group(*TWO_SEEDS), make_group(("A B SEVEN", ""), name="hard labels")
    rows = slice_rows(by_speaker([group, rival]), [group, rival], has_pair=True)
    assert [(row.part, row.words, row.difference) for row in rows] == [
        ("anna", 3, pytest.approx(1 / 6)), ("bert", 4, pytest.approx(0.375 - 1)),
    ]  # fmt: skip
    assert slice_rows(by_speaker([group]), [group], has_pair=False)[0].difference is None


def compared(*groups):
    results = [result for group in groups for result in group.results]
    return compare(group_results(results), samples=100, seed=1)


def test_word_tables_begin_with_the_chosen_group():
    hard = make_group(("A B SEVEN", ""), name="hard labels", weight=1.0)
    found = word_sections(compared(make_group(*TWO_SEEDS), hard))
    assert found["word_groups"] == ["k=8", "hard labels seed=1"]
    shown = [[cell.text for cell in row.cells] for row in found["speakers"].rows]
    assert shown[0] == ["bert", "4", "37.50", "100.00", "−62.50"]  # the largest gain first
    assert shown[1] == ["anna", "3", "16.67", "0.00", "+16.67"]
    heads = [column.title for column in found["speakers"].columns]
    assert heads == ["Speaker", "Words", "k=8", "hard labels seed=1", "Difference"]
    assert found["worst"][0].id == "u2"
    assert word_sections(compared(hard))["word_groups"] == []


def test_families_are_the_settings_without_k():
    groups = [
        make_group(*TWO_SEEDS, name="k=8", k=8),
        make_group(("A B SEVEN", ""), name="k=2", k=2),
        make_group(("A B SEVEN", "PLEASE E NINE 42"), name="k=2 hard=0.2", k=2, weight=0.2),
    ]
    families = families_of(compared(*groups))
    assert {name: list(family) for name, family in families.items()} == {
        "hard=0.2": [2], "": [2, 8],
    }  # fmt: skip
    assert next(iter(families)) == "hard=0.2"  # the best on dev


def test_difference_figure_draws_at_most_the_best_rows_on_dev():
    hard = make_group(("A B SEVEN", ""), name="hard labels", weight=1.0)
    bad = make_group(("", ""), name="k=99", k=99)
    many = [make_group(("A SEVEN", "PLEASE"), name=f"k={k}", k=k) for k in range(1, MOST_ROWS + 1)]
    shown = [comparison.group.k for comparison in rows_of_figure(compared(hard, bad, *many))]
    assert shown == list(range(1, MOST_ROWS + 1))


def test_pareto_front_has_fewer_errors_for_more_cost():
    points = [(2, 9.0), (1, 9.5), (4, 9.2), (8, 8.0), (8, 8.5)]
    assert front(points) == [(1, 9.5), (2, 9.0), (8, 8.0)]


def test_bytes_of_k_ranks_are_those_of_whole_tiers():
    store = make_teacher_summary().stores[0]
    assert [bytes_per_frame(store, k) for k in (1, 3, 4, 5, 32)] == [2.6, 10.1, 10.1, 18.9, 62.4]
    assert bytes_per_frame(store, 33) is None


def test_angle_is_in_degrees():
    assert degrees(1.0) == 0
    assert degrees(0.0) == pytest.approx(90)
    assert degrees(1.0000001) == 0


def test_passes_of_the_teacher_are_the_epochs_of_its_students():
    group = make_group(*TWO_SEEDS)
    hard = make_group(("A B SEVEN", ""), name="hard labels", weight=1.0)
    histories = {result.system.name: (None,) * 7 for result in (*group.results, *hard.results)}
    found = count_teacher_passes(compared(group, hard), histories)
    assert (found.num_students, found.num_epochs, found.saved) == (2, 14, 13)
    assert count_teacher_passes(compared(hard), histories) is None
