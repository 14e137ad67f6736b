"""Tempo: length and pace change, pitch and waveform stay."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.acoustic.features.rates import SAMPLE_RATE
from stages.corpus.sound.tempo import SEARCH, change_tempo
from stages.corpus.sound.wave import root_mean_square
from tests.support.makers.sound import pitch_of, speechlike


def steady_tone(hertz: float, *, seconds: float) -> np.ndarray:
    t = np.arange(round(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    return (1000 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def test_tempo_of_one_gives_the_input_back():
    wave = np.rint(speechlike(3, 20_011))
    np.testing.assert_array_equal(change_tempo(wave, tempo=1.0), wave)


@pytest.mark.parametrize("tempo", [0.6, 0.9, 1.1, 1.7])
@pytest.mark.parametrize("hertz", [97.0, 440.0, 3_000.0])
def test_tempo_changes_the_length_and_keeps_the_pitch(tempo, hertz):
    out = change_tempo(steady_tone(hertz, seconds=1.3), tempo=tempo)
    assert len(out) == round(1.3 * SAMPLE_RATE / tempo)
    assert pitch_of(out) == pytest.approx(hertz, abs=1.5)
    middle = out[2_000:-2_000]
    # Windows that do not meet in phase would cancel each other.
    assert root_mean_square(middle) == pytest.approx(1000 / np.sqrt(2), rel=0.03)


@pytest.mark.parametrize("tempo", [0.8, 1.25])
def test_tempo_moves_a_click_to_its_place(tempo):
    for place in range(3_000, 13_000, 1_111):
        clicks = np.zeros(16_000, np.float32)
        clicks[place] = 1000.0
        found = int(np.argmax(np.abs(change_tempo(clicks, tempo=tempo))))
        # SEARCH, and half a hop between the window's centre and the click at another pace.
        assert abs(found - place / tempo) <= SEARCH + 240 * abs(1 - 1 / tempo) + 1


@settings(max_examples=30, deadline=None)
@given(length=st.integers(0, 3_000), tempo=st.floats(0.5, 2.0))
def test_tempo_takes_any_length(length, tempo):
    out = change_tempo(np.ones(length, np.float32), tempo=tempo)
    assert len(out) == round(length / tempo)
    assert out.dtype == np.float32
    assert np.isfinite(out).all()


def test_tempo_leaves_silence_silent():
    assert not change_tempo(np.zeros(9_001, np.float32), tempo=1.3).any()
