"""Forced alignment and class posteriors along a transcript, against a count of every path."""

import math

import kaldifst
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.acoustic.lang.graph import build_graph
from stages.acoustic.lang.lang import read_lang
from stages.acoustic.lang.transcript_graph import TranscriptGraphs
from stages.acoustic.lang.transcript_paths import best_classes, class_posteriors
from tests.support.makers.kaldi import LEXICON, make_lang, path_of

NUM_CLASSES = 6


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("graph")
    build_graph(read_lang(make_lang(directory / "lang")), directory)
    return TranscriptGraphs.read(directory)


def every_path(graphs, words, num_frames):
    """(classes, cost) of every path of the whole graph that spells `words` in `num_frames`."""
    numbers = [graphs.numbers[word] for word in words]
    graph, found = graphs.graph, []
    to_visit = [(graph.start, 0, (), 0.0)]
    while to_visit:
        state, position, classes, cost = to_visit.pop()
        final = graph.final(state).value
        if position == len(numbers) and len(classes) == num_frames and math.isfinite(final):
            found.append((classes, cost + final))
        for arc in kaldifst.ArcIterator(graph, state):
            spells = position
            if arc.olabel:
                if position == len(numbers) or arc.olabel != numbers[position]:
                    continue
                spells += 1
            emitted = (*classes, arc.ilabel - 1) if arc.ilabel else classes
            if len(emitted) <= num_frames:
                to_visit.append((arc.nextstate, spells, emitted, cost + arc.weight.value))
    return found


def random_loglike(num_frames, seed):
    return np.random.default_rng(seed).normal(size=(num_frames, NUM_CLASSES)).astype(np.float32) * 2


def score(classes, cost, loglike_TC):
    return sum(float(row[c]) for row, c in zip(loglike_TC, classes, strict=True)) - cost


@settings(max_examples=25, deadline=None)
@given(
    words=st.lists(st.sampled_from(sorted(LEXICON)), min_size=1, max_size=2),
    num_frames=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_alignment_has_the_score_of_the_best_path_of_all(graphs, words, num_frames, seed):
    loglike_TC = random_loglike(num_frames, seed)
    paths = every_path(graphs, words, num_frames)
    graph = graphs.of(words)
    found = best_classes(graph, loglike_TC)
    if not paths:
        assert found is None
        return
    best = max(score(*path, loglike_TC) for path in paths)
    of_found = [score(*path, loglike_TC) for path in paths if path[0] == tuple(found)]
    assert max(of_found) == pytest.approx(best, abs=1e-4)


def paths_of(graph, num_frames):
    """(classes, cost) of every path of a transcript's graph with `num_frames` arcs."""
    to_visit, found = [(0, (), 0.0)], []
    while to_visit:
        state, classes, cost = to_visit.pop()
        if len(classes) == num_frames:
            if math.isfinite(graph.final_S[state]):
                found.append((classes, cost + graph.final_S[state]))
            continue
        for arc in np.flatnonzero(graph.source_A == state):
            after = (*classes, int(graph.class_A[arc]))
            to_visit.append((graph.target_A[arc], after, cost + graph.cost_A[arc]))
    return found


@settings(max_examples=25, deadline=None)
@given(
    words=st.lists(st.sampled_from(sorted(LEXICON)), min_size=1, max_size=2),
    num_frames=st.integers(1, 7),
    seed=st.integers(0, 1000),
)
def test_posteriors_are_the_shares_of_all_paths(graphs, words, num_frames, seed):
    """Of the transcript's graph: that it has the whole graph's paths is tested above."""
    loglike_TC = random_loglike(num_frames, seed)
    graph = graphs.of(words)
    paths = paths_of(graph, num_frames)
    found_TC = class_posteriors(graph, loglike_TC)
    assert bool(paths) == bool(every_path(graphs, words, num_frames))
    if not paths:
        assert found_TC is None
        return
    wanted_TC = np.zeros((num_frames, NUM_CLASSES))
    for classes, cost in paths:
        wanted_TC[np.arange(num_frames), classes] += math.exp(score(classes, cost, loglike_TC))
    wanted_TC /= wanted_TC.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found_TC, wanted_TC, atol=1e-5)


def test_alignment_finds_the_boundaries_that_were_planted(graphs):
    words = ["AB", "C", "ABC", "BA"]
    planted_T = path_of(" ".join(words), np.random.default_rng(3))
    loglike_TC = np.full((len(planted_T), NUM_CLASSES), -5.0, np.float32)
    loglike_TC[np.arange(len(planted_T)), planted_T] = 0.0
    np.testing.assert_array_equal(best_classes(graphs.of(words), loglike_TC), planted_T)
    posterior_TC = class_posteriors(graphs.of(words), loglike_TC)
    assert posterior_TC[np.arange(len(planted_T)), planted_T].min() > 0.9


def test_transcript_with_an_unknown_word_has_no_graph(graphs):
    assert graphs.of(["AB", "NOWHERE"]) is None
    assert graphs.unknown_words(["AB", "NOWHERE"]) == ["NOWHERE"]


def test_transcript_longer_than_its_frames_has_no_path(graphs):
    few = random_loglike(2, seed=1)
    assert best_classes(graphs.of(["ABC", "ABC"]), few) is None
    assert class_posteriors(graphs.of(["ABC", "ABC"]), few) is None
