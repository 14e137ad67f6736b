"""What the microphone records in a room."""

import numpy as np
import pytest

from stages.corpus.sound.wave import root_mean_square
from stages.corpus.spoken.distortion import Room
from stages.corpus.spoken.settings import DistortionSettings
from tests.support.makers.sound import speechlike, tone


@pytest.mark.parametrize("babble_share", [0.0, 1.0])
def test_room_adds_noise_at_the_given_ratio(babble_share):
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
        noisy = room.record(clean, rng=np.random.default_rng(seed)).astype(np.float64)
        speech = clean * (1_500 / root_mean_square(clean))
        ratio = root_mean_square(speech) / root_mean_square((noisy - speech).astype(np.float32))
        assert 20 * np.log10(ratio) == pytest.approx(5.0, abs=0.1)


def test_room_mixes_babble_from_the_sentences_before():
    quiet = {"echo_share": 0.0, "tilt_db_per_octave": 0.0, "gain_db": 0.0}
    settings = DistortionSettings(snr_db_low=-30, snr_db_high=-30, babble_share=1.0, **quiet)
    room = Room(settings)
    for seed in range(7):
        noisy = room.record(tone(440.0, rate=16_000, seconds=1), rng=np.random.default_rng(seed))
    power = np.abs(np.fft.rfft(noisy)) ** 2
    assert power[400:480].sum() > 0.9 * power.sum()


def test_room_gives_the_same_samples_for_the_same_seed():
    def noisy(seed):
        room = Room(DistortionSettings())
        return [room.record(speechlike(i), rng=np.random.default_rng([seed, i])) for i in range(9)]

    first, again, other = noisy(1), noisy(1), noisy(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_room_stays_within_sixteen_bits():
    room = Room(DistortionSettings(gain_db=40.0))
    for seed in range(5):
        noisy = room.record(speechlike(seed), rng=np.random.default_rng(seed))
        assert np.abs(noisy).max() <= 32_767
        assert np.array_equal(noisy, np.rint(noisy))
