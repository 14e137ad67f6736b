"""Times of labels: the rule that spreads them, and their agreement with the signal."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.features.filterbank import log_mel
from stages.acoustic.features.rates import num_frames_of
from stages.acoustic.lang.lang import SILENCE
from stages.contract.errors import BadInput
from stages.corpus.spoken.alignment import align_states, spread_states
from stages.corpus.spoken.framing import align_utterance, num_samples_of
from stages.corpus.spoken.phones import STOPS, VOWELS
from stages.corpus.spoken.plan import plan_utterances
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken.speak import clean_wave
from stages.corpus.spoken.synthesis import synthesise
from stages.corpus.spoken.units import phone_of_unit

ECHOING = {"Alicia", "Marco", "f2", "f4", "f5"}


@st.composite
def problems(draw):
    min_frames = draw(st.integers(1, 4))
    num_states = draw(st.integers(1, 40))
    num_frames = num_states * min_frames + draw(st.integers(0, 200))
    steps = draw(
        st.lists(st.floats(0, 8, width=16), min_size=num_states - 1, max_size=num_states - 1)
    )
    return np.concatenate([[0.0], np.cumsum(steps)]), num_frames, min_frames


@given(problems())
def test_alignment_visits_all_states_in_order_for_long_enough(problem):
    starts_S, num_frames, min_frames = problem
    states_T = align_states(starts_S, num_frames=num_frames, min_frames=min_frames)
    assert len(states_T) == num_frames
    assert (np.diff(states_T) >= 0).all()
    assert (np.bincount(states_T, minlength=len(starts_S)) >= min_frames).all()


@given(problems())
def test_alignment_only_rounds_starts_that_are_far_apart(problem):
    starts_S, num_frames, min_frames = problem
    wide_S = starts_S + np.arange(len(starts_S)) * (min_frames + 1)
    num_frames = int(wide_S[-1]) + num_frames + 2
    states_T = align_states(wide_S, num_frames=num_frames, min_frames=min_frames)
    begins_S = np.searchsorted(states_T, np.arange(len(starts_S)))
    assert np.abs(begins_S - wide_S).max() <= 0.5


@given(problems())
def test_alignment_is_nearest_in_least_squares(problem):
    """Compared with every shift of one or more adjacent starts by one frame."""
    starts_S, num_frames, min_frames = problem
    num_frames += int(starts_S[-1])
    states_T = align_states(starts_S, num_frames=num_frames, min_frames=min_frames)
    begins_S = np.searchsorted(states_T, np.arange(len(starts_S)))
    cost = np.sum((begins_S - starts_S) ** 2)
    for first, last in itertools.combinations(range(1, len(starts_S) + 1), 2):
        for step in (-1, 1):
            moved_S = begins_S.copy()
            moved_S[first:last] += step
            lengths = np.diff(moved_S, append=num_frames)
            if (lengths >= min_frames).all():
                # Rounding the real-valued optimum may increase the distance a little.
                assert np.sum((moved_S - starts_S) ** 2) >= cost - len(starts_S) / 4


def test_alignment_refuses_too_few_frames():
    with pytest.raises(BadInput, match="3 states of 2 frames do not fit into 5 frames"):
        align_states(np.array([0.0, 1.0, 2.0]), num_frames=5, min_frames=2)


def test_states_divide_segments_evenly():
    starts_S = spread_states([0.0, 0.3], 0.5, num_states=[3, 2])
    np.testing.assert_allclose(starts_S, [0, 10, 20, 30, 40], atol=1e-12)


@pytest.fixture(scope="module")
def clean():
    """Variant, energy (dB), log-mels, phone of all frames of a sentence, for each of 41 voices."""
    pytest.importorskip("espeakng_loader")
    settings = SpokenSettings()
    spoken = []
    for said in synthesise(itertools.islice(plan_utterances("train", settings), 41)):
        wave_T = clean_wave(said)
        assert len(wave_T) == num_samples_of(said)
        mels_TF = log_mel(wave_T, num_mel_bins=40)
        assert len(mels_TF) == num_frames_of(len(wave_T))
        aligned = align_utterance(said, settings)
        phones_T = [phone_of_unit(aligned.states[s][0]) for s in aligned.state_of_frame_T]
        centres = np.arange(len(mels_TF)) * 160 + 80
        padded_T = np.pad(wave_T.astype(np.float64), 80)
        frames_TW = padded_T[centres[:, None] + np.arange(160)[None, :]]
        energy_T = 10 * np.log10(np.mean(frames_TW**2, axis=1) + 1.0)
        spoken.append((said.planned.speaker.variant, energy_T, mels_TF, np.array(phones_T)))
    return spoken


def test_vowels_are_far_louder_than_silence(clean):
    energy = np.concatenate([energy_T for _, energy_T, _, _ in clean])
    phones = np.concatenate([phones_T for _, _, _, phones_T in clean])
    vowels, silence = energy[np.isin(phones, list(VOWELS))], energy[phones == SILENCE]
    assert np.median(vowels) > np.median(silence) + 40
    assert np.quantile(vowels, 0.05) > np.quantile(silence, 0.90)


def test_speech_begins_and_ends_where_the_labels_say(clean):
    """Within 20 ms. The first phone is no stop, since closures are silent; the last is a vowel
    of a voice without echo.
    """
    checked = 0
    for variant, energy_T, _, phones_T in clean:
        loud_T = np.flatnonzero(energy_T > energy_T.max() - 40)
        said_T = np.flatnonzero(phones_T != SILENCE)
        if phones_T[said_T[0]] not in STOPS:
            assert abs(said_T[0] - loud_T[0]) <= 2
            checked += 1
        if phones_T[said_T[-1]] in VOWELS and variant not in ECHOING:
            assert abs(said_T[-1] - loud_T[-1]) <= 2
            checked += 1
    assert checked >= 30


def test_vowel_begins_where_a_fricative_ends(clean):
    """The energy moves from high to low bands within 20 ms of the boundary of the labels."""
    errors = []
    for _, _, mels_TF, phones_T in clean:
        low_T, high_T = mels_TF[:, 3:15].mean(axis=1), mels_TF[:, 30:].mean(axis=1)
        for t in range(6, len(phones_T) - 6):
            if phones_T[t - 1] == "S" and phones_T[t] in VOWELS:
                rise_T = np.diff((low_T - high_T)[t - 6 : t + 6])
                errors.append(int(np.argmax(rise_T)) + 1 - 6)
    assert len(errors) >= 10
    assert np.mean(np.abs(errors) <= 2) >= 0.9
    assert abs(np.mean(errors)) <= 1
