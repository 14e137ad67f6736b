"""HMMs of transcripts and the search through them, against all paths written out."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.lang.lang import SILENCE
from stages.corpus.align.gaussians import flat_start
from stages.corpus.align.transcript_hmm import TranscriptHmm
from stages.corpus.align.viterbi import best_states
from stages.corpus.spoken.units import phone_of_unit

LEXICON = {
    "a": (("x",),),
    "ab": (("x", "y"), ("z",)),
    "bee": (("y", "z", "y"), ("x", "x")),
}
transcripts = st.lists(st.sampled_from(sorted(LEXICON)), min_size=1, max_size=3)


def spellings(words, *, states):
    """Every sequence of (phone, state) that a transcript allows, silences put in or left out."""
    silence = [(SILENCE, number) for number in range(3)]
    for chosen in product(*(LEXICON[word] for word in words)):
        for pauses in product((False, True), repeat=len(words) + 1):
            path = silence * pauses[0]
            for phones, pause in zip(chosen, pauses[1:], strict=True):
                path = path + [(phone, n) for phone in phones for n in range(states)]
                path = path + silence * pause
            yield path


def collapsed(hmm, state_T):
    """The states of a path without repetitions, with phones instead of units."""
    visited = [state for n, state in enumerate(state_T) if n == 0 or state_T[n - 1] != state]
    return [(phone_of_unit(hmm.states[s][0]), hmm.states[s][1]) for s in visited]


def best_score(words, loglike_TS, hmm, *, states):
    """The best sum over all spellings, each stretched over the frames in the best way."""
    column = {}
    for number, (unit, state) in enumerate(hmm.states):
        column.setdefault((phone_of_unit(unit), state), number)
    scores = []
    for path in spellings(words, states=states):
        best_P = np.full(len(path), -np.inf)
        for t, loglike_S in enumerate(loglike_TS):
            moved_P = np.append(0.0 if t == 0 else -np.inf, best_P[:-1])
            best_P = np.maximum(best_P, moved_P) + [loglike_S[column[state]] for state in path]
        scores.append(best_P[-1])
    return max(scores)


@given(
    words=transcripts, states=st.integers(1, 2), spare=st.integers(0, 6), seed=st.integers(0, 99)
)
def test_best_path_spells_the_transcript_and_no_other_is_better(words, states, spare, seed):
    hmm = TranscriptHmm.of(words, LEXICON, states_per_phone=states)
    names = sorted({(phone_of_unit(unit), number) for unit, number in hmm.states})
    of_class = np.random.default_rng(seed).normal(size=(hmm.min_frames + spare, len(names)))
    loglike_TS = of_class[:, [names.index((phone_of_unit(u), n)) for u, n in hmm.states]]
    state_T = best_states(hmm, loglike_TS)
    assert collapsed(hmm, state_T) in list(spellings(words, states=states))
    score = loglike_TS[np.arange(len(state_T)), state_T].sum()
    assert score == pytest.approx(best_score(words, loglike_TS, hmm, states=states))


@given(words=transcripts, states=st.integers(1, 3))
def test_min_frames_is_the_length_of_the_shortest_spelling(words, states):
    hmm = TranscriptHmm.of(words, LEXICON, states_per_phone=states)
    assert hmm.min_frames == min(map(len, spellings(words, states=states)))


@given(
    words=transcripts,
    states=st.integers(1, 3),
    num_frames=st.integers(1, 60),
    edges=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_flat_start_visits_every_state_of_the_first_pronunciations(
    words, states, num_frames, edges
):
    hmm = TranscriptHmm.of(words, LEXICON, states_per_phone=states)
    state_T = flat_start(hmm, num_frames, edges=edges)
    wanted = [(p, n) for word in words for p in LEXICON[word][0] for n in range(states)]
    if state_T is None:
        assert num_frames < len(wanted)
        return
    assert len(state_T) == num_frames
    visited = collapsed(hmm, state_T)
    assert [state for state in visited if state[0] != SILENCE] == wanted
    silent = [n for n, state in enumerate(visited) if state[0] == SILENCE]
    assert all(n < 3 or n >= len(visited) - 3 for n in silent)
    if sum(max(edge, 5) for edge in edges) <= num_frames - len(wanted):
        is_silent_T = hmm.word_S[state_T] < 0
        assert np.argmin(is_silent_T) == max(edges[0], 5)
        assert np.argmin(is_silent_T[::-1]) == max(edges[1], 5)


def test_units_have_their_contexts_within_the_word():
    hmm = TranscriptHmm.of(["bee"], {"bee": [("y", "z")]}, states_per_phone=1)
    assert [unit for unit, _ in hmm.states if unit != SILENCE] == ["#-y+z", "y-z+#"]
