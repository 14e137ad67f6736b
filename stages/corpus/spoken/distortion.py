"""clean samples -> what a microphone hears: echo, noise or other voices, channel, gain.

Nothing here moves a sound in time by more than a sample, so the labels stay where they are.

Shapes: T samples.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from stages.corpus.spoken.filterbank import SAMPLE_RATE
from stages.corpus.spoken.settings import DistortionSettings
from stages.corpus.spoken.wave import Wave, convolve, fast_length, root_mean_square

SPEECH_LEVEL = 1_500.0  # root mean square of the speech, of 32768
FULL_SCALE = 32_767.0
NOISE_POWER_SLOPES = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # power falls as 1 / f ** slope
HUM = "hum"
HUM_HERTZ = (50.0, 60.0)
NUM_HARMONICS = 12
ECHO_DELAY_SECONDS = 0.003
ECHO_LEVEL = (0.2, 0.7)  # of the direct sound, in root mean square
CROWD = (3, 6)  # voices in a babble
CROWD_MEMORY = 12  # sentences that a babble is mixed from
TILT_ABOVE_HERTZ = 100.0
TILT_MIDDLE_HERTZ = 1_000.0


class Room:
    """Distorts the sentences of one split. It remembers the last ones: they make the babble."""

    def __init__(self, settings: DistortionSettings) -> None:
        self._settings = settings
        self._crowd: deque[Wave] = deque(maxlen=CROWD_MEMORY)

    def hear(self, clean_T: Wave, *, rng: np.random.Generator) -> Wave:
        """One sentence as the microphone gives it; the same `rng` state, the same samples."""
        settings = self._settings
        voice_T = clean_T * np.float32(SPEECH_LEVEL / max(root_mean_square(clean_T), 1.0))
        heard_T = voice_T
        if rng.random() < settings.echo_share:
            seconds = rng.uniform(settings.echo_seconds_low, settings.echo_seconds_high)
            heard_T = convolve(heard_T, echo_impulse(seconds, rng=rng))
        wants_babble = rng.random() < settings.babble_share
        if wants_babble and len(self._crowd) >= CROWD[1]:
            noise_T = self._babble(len(heard_T), rng=rng)
        else:
            noise_T = make_noise(len(heard_T), rng=rng)
        snr_db = rng.uniform(settings.snr_db_low, settings.snr_db_high)
        heard_T = heard_T + noise_T * np.float32(
            root_mean_square(heard_T) / root_mean_square(noise_T) * 10 ** (-snr_db / 20)
        )
        tilt = rng.uniform(-settings.tilt_db_per_octave, settings.tilt_db_per_octave)
        gain_db = rng.uniform(-settings.gain_db, settings.gain_db)
        heard_T = tilt_spectrum(heard_T, db_per_octave=tilt) * np.float32(10 ** (gain_db / 20))
        self._crowd.append(voice_T)
        limited_T: Wave = np.clip(np.rint(heard_T), -FULL_SCALE, FULL_SCALE).astype(np.float32)
        return limited_T

    def _babble(self, length: int, *, rng: np.random.Generator) -> Wave:
        babble_T = np.zeros(length, dtype=np.float32)
        for index in rng.permutation(len(self._crowd))[: rng.integers(CROWD[0], CROWD[1] + 1)]:
            other_T = np.roll(self._crowd[index], int(rng.integers(len(self._crowd[index]))))
            babble_T += np.resize(other_T, length) * np.float32(rng.uniform(0.5, 1.0))
        return babble_T


def echo_impulse(seconds: float, *, rng: np.random.Generator) -> Wave:
    """The direct sound at once, then noise that is 60 dB down after `seconds`."""
    length = int(seconds * SAMPLE_RATE)
    delay = int(ECHO_DELAY_SECONDS * SAMPLE_RATE)
    tail = rng.standard_normal(length).astype(np.float32)
    tail *= np.power(10.0, -3.0 * np.arange(length) / length).astype(np.float32)
    tail[:delay] = 0.0
    tail *= np.float32(rng.uniform(*ECHO_LEVEL) / np.linalg.norm(tail))
    tail[0] = 1.0
    return tail


def make_noise(length: int, *, rng: np.random.Generator) -> Wave:
    """White, pink or brown noise, or the hum of the mains in some white noise."""
    colour = (*NOISE_POWER_SLOPES, HUM)[int(rng.integers(len(NOISE_POWER_SLOPES) + 1))]
    white_T = rng.standard_normal(length, dtype=np.float32)
    if colour == HUM:
        return white_T * np.float32(0.3) + _hum(length, rng=rng)
    return _slope_spectrum(white_T, power_slope=NOISE_POWER_SLOPES[colour])


def tilt_spectrum(wave_T: Wave, *, db_per_octave: float) -> Wave:
    """The wave through a channel that is louder, or fainter, towards the high end."""
    return _slope_spectrum(wave_T, power_slope=-db_per_octave / (10 * np.log10(2.0)))


def _hum(length: int, *, rng: np.random.Generator) -> Wave:
    hertz = HUM_HERTZ[int(rng.integers(len(HUM_HERTZ)))]
    seconds_T = np.arange(length) / SAMPLE_RATE
    hum_T = np.zeros(length)
    for harmonic in range(1, NUM_HARMONICS + 1):
        phase = rng.uniform(0, 2 * np.pi)
        hum_T += rng.uniform() / harmonic * np.sin(2 * np.pi * hertz * harmonic * seconds_T + phase)
    return hum_T.astype(np.float32)


def _slope_spectrum(wave_T: Wave, *, power_slope: float) -> Wave:
    if power_slope == 0.0:
        return wave_T
    n = fast_length(len(wave_T))
    hertz = np.maximum(np.fft.rfftfreq(n, 1 / SAMPLE_RATE), TILT_ABOVE_HERTZ)
    weight = np.power(hertz / TILT_MIDDLE_HERTZ, -power_slope / 2)
    shaped: NDArray[np.float64] = np.fft.irfft(np.fft.rfft(wave_T, n=n) * weight, n=n)
    return shaped[: len(wave_T)].astype(np.float32)
