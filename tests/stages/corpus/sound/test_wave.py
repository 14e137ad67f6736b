"""Resampling and convolution against oracles."""

import numpy as np
import pytest

from stages.corpus.sound.wave import convolve, fast_length, resample, root_mean_square
from tests.support.makers.sound import speechlike, tone


@pytest.mark.parametrize("least", [1, 2, 7, 11, 97, 1001, 22_051])
def test_fast_length_is_the_next_without_large_primes(least):
    def is_smooth(n):
        for prime in (2, 3, 5):
            while n % prime == 0:
                n //= prime
        return n == 1

    assert fast_length(least) == next(n for n in range(least, 2 * least + 1) if is_smooth(n))


@pytest.mark.parametrize("hertz", [110.0, 997.0, 6_500.0])
def test_resample_keeps_the_pitch_and_place_of_a_tone(hertz):
    out = resample(tone(hertz, rate=22_050, seconds=0.7), up=320, down=441)
    np.testing.assert_allclose(out, tone(hertz, rate=16_000, seconds=0.7)[: len(out)], atol=2.0)
    assert len(out) == 22_050 * 7 // 10 * 320 // 441


def test_resample_removes_a_tone_above_the_new_rate():
    out = resample(tone(9_500.0, rate=22_050, seconds=0.5), up=320, down=441)
    assert root_mean_square(out) < 0.5


def test_convolve_is_the_direct_sum():
    wave, impulse = speechlike(1, 501), speechlike(2, 97)
    expected = np.convolve(wave.astype(np.float64), impulse.astype(np.float64))[:501]
    np.testing.assert_allclose(convolve(wave, impulse), expected, rtol=1e-4, atol=20)
