"""NCE and calibration of words against formulas written in another way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.contract.results import UtteranceResult
from stages.evaluate.score import score_utterance
from stages.report.statistics.word_confidence import (
    calibration_error,
    judged_words,
    normalised_cross_entropy,
)
from tests.support.makers.scores import make_scored_split

JUDGED = st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=2, max_size=30)


def utterance(reference: str, hypothesis: str, *confidences: float) -> UtteranceResult:
    scored = score_utterance("a", speaker="s", reference=reference, hypothesis=hypothesis)
    return scored.model_copy(update={"confidences": confidences})


@given(JUDGED)
def test_nce_is_the_relative_fall_of_the_cross_entropy(judged: list[tuple[float, bool]]) -> None:
    found = normalised_cross_entropy(judged)
    right = np.array([is_right for _, is_right in judged])
    if right.all() or not right.any():
        assert found is None
        return
    confidence = np.array([value for value, _ in judged])

    def nats(given):
        return -np.mean(np.log(np.where(right, given, 1 - given)))

    usual = np.full(len(right), right.mean())
    assert found == pytest.approx(1 - nats(confidence) / nats(usual))


def test_nce_of_constant_share_is_zero_and_of_certainty_nearly_one() -> None:
    assert normalised_cross_entropy([(0.75, True)] * 3 + [(0.75, False)]) == pytest.approx(0.0)
    assert normalised_cross_entropy([(1.0, True), (0.0, False)]) == pytest.approx(1.0, abs=1e-5)
    worst = normalised_cross_entropy([(0.0, True), (1.0, False)])
    assert worst is not None
    assert worst == pytest.approx(1 + math.log2(1e-6), abs=1e-3)


@given(JUDGED)
def test_calibration_error_is_the_weighted_distance_in_bins(
    judged: list[tuple[float, bool]],
) -> None:
    total = 0.0
    for number in range(15):
        inside = [j for j in judged if number / 15 < j[0] <= (number + 1) / 15]
        if inside:
            accuracy = sum(right for _, right in inside) / len(inside)
            total += len(inside) * abs(accuracy - sum(c for c, _ in inside) / len(inside))
    assert calibration_error(judged) == pytest.approx(total / len(judged), abs=1e-9)


def test_words_are_judged_by_the_alignment_and_deletions_do_not_count() -> None:
    rows = [
        utterance("A B C D", "A X C", 0.9, 0.4, 0.8),  # X for B, D is deleted
        utterance("A B", "A UH B", 0.7, 0.2, 0.6),  # an insertion
        utterance("A", ""),
    ]
    found = judged_words(make_scored_split(rows))
    assert found == [(0.9, True), (0.4, False), (0.8, True), (0.7, True), (0.2, False), (0.6, True)]
    rows[1] = rows[1].model_copy(update={"confidences": None})
    assert judged_words(make_scored_split(rows)) == found[:3]
    assert judged_words(make_scored_split(rows[1:2])) is None
    assert calibration_error([]) is None
