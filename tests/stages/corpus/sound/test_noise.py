"""Echo, noise and channel, each against an oracle."""

import numpy as np
import pytest

from stages.corpus.sound.noise import echo_impulse, make_noise, tilt_spectrum
from stages.corpus.sound.wave import root_mean_square
from tests.support.makers.sound import tone


def test_echo_begins_with_the_direct_sound_and_dies_out():
    impulse = echo_impulse(0.3, rng=np.random.default_rng(4))
    assert impulse[0] == 1.0
    assert not impulse[1:48].any()
    assert 0.2 <= np.linalg.norm(impulse[1:]) <= 0.7
    tenth = len(impulse) // 10
    drop = np.linalg.norm(impulse[-tenth:]) / np.linalg.norm(impulse[48 : 48 + tenth])
    assert 20 * np.log10(drop) == pytest.approx(-54, abs=4)


def test_noise_is_never_silent_and_differs_from_draw_to_draw():
    rng = np.random.default_rng(8)
    noises = [make_noise(3_001, rng=rng) for _ in range(20)]
    assert min(map(root_mean_square, noises)) > 0.1
    assert len({noise.tobytes() for noise in noises}) == 20


@pytest.mark.parametrize("slope", [-6.0, 3.0])
def test_tilt_has_the_given_decibels_an_octave(slope):
    levels = [
        root_mean_square(tilt_spectrum(tone(hertz, rate=16_000, seconds=0.5), db_per_octave=slope))
        for hertz in (1_000.0, 2_000.0)
    ]
    assert 20 * np.log10(levels[1] / levels[0]) == pytest.approx(slope, abs=0.05)
