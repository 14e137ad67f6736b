"""What the microphone hears: each part against an oracle of its own."""

import numpy as np
import pytest

from stages.corpus.spoken.distortion import Room, echo_impulse, make_noise, tilt_spectrum
from stages.corpus.spoken.settings import DistortionSettings
from stages.corpus.spoken.wave import convolve, fast_length, resample, root_mean_square


def tone(hertz: float, *, rate: int, seconds: float) -> np.ndarray:
    t = np.arange(round(rate * seconds)) / rate
    return (1000 * np.sin(2 * np.pi * hertz * t) * np.hanning(len(t))).astype(np.float32)


def speechlike(seed: int, length: int = 16_011) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = rng.standard_normal(length) * np.sin(np.arange(length) / 700) ** 2
    return (2000 * wave).astype(np.float32)


@pytest.mark.parametrize("least", [1, 2, 7, 11, 97, 1001, 22_051])
def test_fast_lengths_are_the_next_without_large_primes(least):
    def is_smooth(n):
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    assert fast_length(least) == next(n for n in range(least, 2 * least + 1) if is_smooth(n))


@pytest.mark.parametrize("hertz", [110.0, 997.0, 6_500.0])
def test_a_tone_keeps_its_pitch_and_place_at_the_other_rate(hertz):
    out = resample(tone(hertz, rate=22_050, seconds=0.7), up=320, down=441)
    np.testing.assert_allclose(out, tone(hertz, rate=16_000, seconds=0.7)[: len(out)], atol=2.0)
    assert len(out) == 22_050 * 7 // 10 * 320 // 441


def test_a_tone_above_the_new_rate_vanishes():
    out = resample(tone(9_500.0, rate=22_050, seconds=0.5), up=320, down=441)
    assert root_mean_square(out) < 0.5


def test_convolution_is_the_direct_sum():
    wave, impulse = speechlike(1, 501), speechlike(2, 97)
    expected = np.convolve(wave.astype(np.float64), impulse.astype(np.float64))[:501]
    np.testing.assert_allclose(convolve(wave, impulse), expected, rtol=1e-4, atol=20)


def test_an_echo_begins_with_the_direct_sound_and_dies_out():
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
def test_a_channel_tilts_by_so_many_decibels_an_octave(slope):
    levels = [
        root_mean_square(tilt_spectrum(tone(hertz, rate=16_000, seconds=0.5), db_per_octave=slope))
        for hertz in (1_000.0, 2_000.0)
    ]
    assert 20 * np.log10(levels[1] / levels[0]) == pytest.approx(slope, abs=0.05)


@pytest.mark.parametrize("babble_share", [0.0, 1.0])
def test_noise_comes_at_the_ratio_that_was_asked_for(babble_share):
    settings = DistortionSettings(
        snr_db_low=5.0,
        snr_db_high=5.0,
        babble_share=babble_share,
        echo_share=0.0,
        tilt_db_per_octave=0.0,
        gain_db=0.0,
    )
    room = Room(settings)
    for seed in range(9):
        clean = speechlike(seed)
        heard = room.hear(clean, rng=np.random.default_rng(seed)).astype(np.float64)
        speech = clean * (1_500 / root_mean_square(clean))
        ratio = root_mean_square(speech) / root_mean_square((heard - speech).astype(np.float32))
        assert 20 * np.log10(ratio) == pytest.approx(5.0, abs=0.1)


def test_babble_is_made_of_the_sentences_before():
    quiet = {"echo_share": 0.0, "tilt_db_per_octave": 0.0, "gain_db": 0.0}
    settings = DistortionSettings(snr_db_low=-30, snr_db_high=-30, babble_share=1.0, **quiet)
    room = Room(settings)
    for seed in range(7):
        heard = room.hear(tone(440.0, rate=16_000, seconds=1), rng=np.random.default_rng(seed))
    power = np.abs(np.fft.rfft(heard)) ** 2
    assert power[400:480].sum() > 0.9 * power.sum()


def test_the_same_seed_gives_the_same_samples():
    def heard(seed):
        room = Room(DistortionSettings())
        return [room.hear(speechlike(i), rng=np.random.default_rng([seed, i])) for i in range(9)]

    first, again, other = heard(1), heard(1), heard(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_samples_stay_within_sixteen_bits():
    room = Room(DistortionSettings(gain_db=40.0))
    for seed in range(5):
        heard = room.hear(speechlike(seed), rng=np.random.default_rng(seed))
        assert np.abs(heard).max() <= 32_767
        assert np.array_equal(heard, np.rint(heard))
