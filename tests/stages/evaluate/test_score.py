"""Scoring and tuning against oracles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.lang.priors import log_priors
from stages.evaluate.frames import FrameTally
from stages.evaluate.score import word_errors
from stages.evaluate.tune import Point, describe_edges, search
from storage.corpus.corpus_file import NO_LABEL

SENTENCES = st.lists(st.sampled_from(["a", "b", "cc"]), max_size=7).map(" ".join)


def levenshtein(left, right):
    row = list(range(len(right) + 1))
    for i, one in enumerate(left, start=1):
        last, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            last, row[j] = row[j], min(last + (one != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


@given(SENTENCES, SENTENCES)
def test_errors_are_the_edit_distance(reference, hypothesis):
    errors = word_errors(reference, hypothesis)
    said, heard = reference.split(), hypothesis.split()
    assert errors.errors == levenshtein(said, heard)
    assert errors.reference_words == len(said)
    assert errors.insertions - errors.deletions == len(heard) - len(said)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "wanted"),
    [
        ("a b cc", "a b cc", (0, 0, 0)),
        ("a b cc", "a cc", (0, 1, 0)),
        ("a b", "a x b", (1, 0, 0)),
        ("a b", "a x", (0, 0, 1)),
        ("", "a", (1, 0, 0)),
        ("a", "", (0, 1, 0)),
        ("", "", (0, 0, 0)),
    ],
)
def test_errors_are_of_three_kinds(reference, hypothesis, wanted):
    errors = word_errors(reference, hypothesis)
    assert (errors.insertions, errors.deletions, errors.substitutions) == wanted


def test_frame_errors_and_cross_entropy_equal_an_oracle():
    rng = np.random.default_rng(0)
    tally = FrameTally()
    wrong, nats = [], []
    for length in (7, 1, 12):
        logits = rng.normal(size=(length, 5))
        logp = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        labels = rng.integers(0, 5, size=length).astype(np.int32)
        labels[:2] = NO_LABEL
        tally.count(logp.astype(np.float32), labels)
        for row, label in zip(logp[2:], labels[2:], strict=True):
            wrong.append(row.argmax() != label)
            nats.append(-row[label])
    assert tally.num_frames == 20
    assert tally.result().frame_error == pytest.approx(np.mean(wrong))
    assert tally.result().cross_entropy == pytest.approx(np.mean(nats), rel=1e-6)


def test_frame_error_without_labels_is_none():
    tally = FrameTally()
    tally.count(np.zeros((3, 2), np.float32), np.full(3, NO_LABEL, np.int32))
    assert tally.result().frame_error is None
    assert tally.result().cross_entropy is None


def test_priors_are_shares_and_never_zero():
    prior = np.exp(log_priors(np.array([6, 0, 3]), smoothing=1.0))
    np.testing.assert_allclose(prior, [7 / 12, 1 / 12, 4 / 12], rtol=1e-6)


def bowl(at):
    """Return an error function that grows with the distance from a point."""
    return lambda point: int(
        1000 * (np.log(point.acoustic_scale / at.acoustic_scale) ** 2)
        + 10 * (point.insertion_penalty - at.insertion_penalty) ** 2
    )


SCALES, PENALTIES = (0.1, 0.14, 0.2, 0.28, 0.4), (-2.0, -1.0, 0.0, 1.0)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("penalty", PENALTIES)
def test_search_finds_the_lowest_point_of_a_bowl(scale, penalty):
    lowest = Point(scale, penalty)
    asked = []

    def errors_at(point):
        asked.append(point)
        return bowl(lowest)(point)

    assert search(SCALES, PENALTIES, errors_at) == lowest
    assert len(asked) == len(set(asked))


def test_search_leaves_a_flat_grid_at_once():
    asked = []
    point = search(SCALES, PENALTIES, lambda point: asked.append(point) or 3)
    assert point == Point(0.2, 0.0)
    assert len(asked) == 5


def test_search_of_one_point_returns_it():
    assert search([0.5], [2.0], lambda point: 0) == Point(0.5, 2.0)


@pytest.mark.parametrize(
    ("point", "found"),
    [
        (Point(0.2, 0.0), []),
        (Point(0.1, 0.0), ["0.1 is the lowest of evaluate.acoustic_scales"]),
        (
            Point(0.4, 1.0),
            ["0.4 is the highest of evaluate.acoustic_sc", "1 is the highest of evaluate.inserti"],
        ),
    ],
)
def test_point_on_the_edge_is_named(point, found):
    edges = list(describe_edges(point, SCALES, PENALTIES))
    assert len(edges) == len(found)
    assert all(edge.startswith(start) for edge, start in zip(edges, found, strict=True))
    assert not list(describe_edges(Point(0.5, 2.0), [0.5], [2.0])), "there is nothing beside it"
