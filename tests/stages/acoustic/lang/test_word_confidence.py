"""Confidences of words along a decoded path, and the spans of words by the lexicon."""

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.lang.beam_search import SearchLimits, decode_matrix
from stages.acoustic.lang.graph import build_graph, read_graph, read_words
from stages.acoustic.lang.lang import read_lang
from stages.acoustic.lang.word_confidence import WordConfidence
from stages.acoustic.lang.word_spans import Spellings
from tests.support.makers.kaldi import LEXICON, NUM_PDFS, UNITS, make_lang, path_of

LIMITS = SearchLimits(beam=50.0, max_active=5000, min_active=200)
SPELLINGS = Spellings(
    {
        word: (tuple(pdf for unit in units.split() for pdf in UNITS[unit]),)
        for word, units in LEXICON.items()
    },
    frozenset({0}),
)


def test_spellings_follow_from_lexicon_and_units(tmp_path):
    assert Spellings.of(read_lang(make_lang(tmp_path))) == SPELLINGS


@pytest.mark.parametrize("sentence", ["ABC BA AB", "C", "AB AB", ""])
def test_decoded_path_gives_the_spans_that_were_planted(tmp_path, sentence):
    build_graph(read_lang(make_lang(tmp_path / "lang")), tmp_path)
    path_T = path_of(sentence, np.random.default_rng(3))
    loglike_TC = np.full((len(path_T), NUM_PDFS), -9.0, np.float32)
    loglike_TC[np.arange(len(path_T)), path_T] = 0.0
    found = decode_matrix(read_graph(tmp_path), loglike_TC, limits=LIMITS)
    words = [read_words(tmp_path)[word] for word in found.words]
    assert " ".join(words) == sentence
    assert found.classes == tuple(path_T.tolist())
    speech = groupby(enumerate(path_T), key=lambda item: item[1] != 0)
    runs = [[frame for frame, _ in run] for is_speech, run in speech if is_speech]
    wanted = [(run[0], run[-1] + 1) for run in runs]  # silence lies between all words
    assert SPELLINGS.spans(words, found.classes) == wanted


@st.composite
def spoken(draw):
    """Words, with silence between some of them, and the number of frames of each state."""
    words = draw(st.lists(st.sampled_from(sorted(LEXICON)), max_size=5))
    classes, spans = [], []
    for word in [*words, ""]:
        classes += [0] * draw(st.integers(0, 2))
        start = len(classes)
        for state in SPELLINGS.of_word[word][0] if word else ():
            classes += [state] * draw(st.integers(1, 3))
        spans.append((start, len(classes)))
    return words, classes, spans[:-1]


@given(spoken())
def test_spans_divide_the_path_into_spellings_of_the_words(given):
    words, classes, planted = given
    found = SPELLINGS.spans(words, classes)
    assert found is not None
    for word, (start, end) in zip(words, found, strict=True):
        said = [c for c, _ in groupby(classes[start:end])]
        assert said == [c for c, _ in groupby(SPELLINGS.of_word[word][0])]
    ends = [0, *(end for _, end in found)]
    starts = [*(start for start, _ in found), len(classes)]
    assert all(set(classes[end:start]) <= {0} for end, start in zip(ends, starts, strict=True))
    if all(a[-1] != b[0] for a, b in zip(*_neighbours(words), strict=True)):
        assert found == planted


def _neighbours(words):
    states = [SPELLINGS.of_word[word][0] for word in words]
    return states[:-1], states[1:]


@pytest.mark.parametrize("classes", [(1, 2), (1, 2, 3, 4, 5), (3,), ()])
def test_path_that_does_not_spell_its_words_has_no_spans(classes):
    assert SPELLINGS.spans(["AB"], classes) is None
    assert SPELLINGS.spans(["UNKNOWN"], classes) is None


def test_confidence_is_the_mean_posterior_of_the_path_over_the_word():
    rng = np.random.default_rng(5)
    posterior_TC = rng.dirichlet(np.ones(NUM_PDFS), size=9)
    prior_C = rng.dirichlet(np.ones(NUM_PDFS))
    loglike_TC = (np.log(posterior_TC) - np.log(prior_C)).astype(np.float32)
    classes = (0, 1, 1, 2, 3, 0, 4, 5, 0)
    log_prior_C = np.log(prior_C).astype(np.float32)
    found = WordConfidence(log_prior_C, SPELLINGS).along(["AB", "SEE"], classes, loglike_TC)
    first = np.mean([posterior_TC[t, classes[t]] for t in (1, 2, 3, 4)])
    second = np.mean([posterior_TC[t, classes[t]] for t in (6, 7)])
    assert found == pytest.approx((first, second), abs=1e-5)
    assert WordConfidence(log_prior_C, SPELLINGS).along([], (), loglike_TC[:0]) == ()
    assert WordConfidence(log_prior_C, None).along(["AB"], classes, loglike_TC) is None
