"""Log-mel features with warped filters, against those of kaldi-native-fbank and against tones."""

import numpy as np
import pytest

from stages.acoustic.features.filterbank import HIGH_HERTZ, LOW_HERTZ, log_mel, warped_log_mel
from stages.acoustic.features.rates import num_frames_of
from tests.support.makers.sound import speechlike, tone

BINS = 40


def peak_hertz(features_TF: np.ndarray) -> float:
    """Centre of the strongest filter, between filters by a parabola, in Hz."""
    mean_F = features_TF.mean(axis=0)
    at = int(np.argmax(mean_F))
    left, top, right = mean_F[at - 1 : at + 2]
    at = at + 0.5 * (left - right) / (left - 2 * top + right)
    low, high = (1127 * np.log(1 + hertz / 700) for hertz in (LOW_HERTZ, HIGH_HERTZ))
    return 700 * (np.exp((low + (high - low) * (at + 1) / (BINS + 1)) / 1127) - 1)


@pytest.mark.parametrize("length", [16_011, 3_999, 401, 170])
def test_warped_log_mel_without_a_warp_is_log_mel(length):
    wave = np.rint(speechlike(5, length))
    expected = log_mel(wave, num_mel_bins=BINS)
    found = warped_log_mel(wave, num_mel_bins=BINS, warp=1.0)
    assert found.shape == (num_frames_of(length), BINS)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("warp", [0.85, 0.9, 1.1, 1.2])
@pytest.mark.parametrize("hertz", [700.0, 1_500.0, 3_000.0])
def test_warped_log_mel_moves_a_peak_by_the_factor(warp, hertz):
    wave = tone(hertz, rate=16_000, seconds=0.6)
    before = peak_hertz(warped_log_mel(wave, num_mel_bins=BINS, warp=1.0))
    after = peak_hertz(warped_log_mel(wave, num_mel_bins=BINS, warp=warp))
    assert after / before == pytest.approx(warp, rel=0.02)


@pytest.mark.parametrize("warp", [0.8, 1.25])
def test_warped_log_mel_leaves_no_filter_empty(warp):
    white = (1000 * np.random.default_rng(3).standard_normal(16_000)).astype(np.float32)
    plain = warped_log_mel(white, num_mel_bins=BINS, warp=1.0).mean(axis=0)
    warped = warped_log_mel(white, num_mel_bins=BINS, warp=warp).mean(axis=0)
    assert np.abs(warped - plain).max() < 4.0  # narrow filters at the ends, and none at the floor
