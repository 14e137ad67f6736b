"""Noise: distortions of speech: echo, coloured noise, hum, babble of other voices, a channel.

Shapes: T samples.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.rates import SAMPLE_RATE
from stages.corpus.sound.wave import Wave, fast_length, root_mean_square

FULL_SCALE = 32_767.0
NOISE_POWER_SLOPES = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # power falls as 1 / f ** slope
HUM = "hum"
HUM_HERTZ = (50.0, 60.0)
NUM_HARMONICS = 12
ECHO_DELAY_SECONDS = 0.003
ECHO_LEVEL = (0.2, 0.7)  # of the direct sound, in root mean square
BABBLE_VOICES = (3, 6)  # at least, at most
TILT_ABOVE_HERTZ = 100.0
TILT_MIDDLE_HERTZ = 1_000.0


def add_noise(speech_T: Wave, noise_T: Wave, *, snr_db: float) -> Wave:
    """Add noise at a signal-to-noise ratio of the powers over the whole sentence."""
    level = root_mean_square(speech_T) / root_mean_square(noise_T) * 10 ** (-snr_db / 20)
    return speech_T + noise_T * np.float32(level)


def mix_babble(voices: Iterable[Wave], *, length: int, rng: np.random.Generator) -> Wave:
    """The sum of other sentences, each repeated to `length` samples from a random start."""
    babble_T = np.zeros(length, dtype=np.float32)
    for voice_T in voices:
        shifted_T = np.roll(voice_T, int(rng.integers(len(voice_T))))
        babble_T += np.resize(shifted_T, length) * np.float32(rng.uniform(0.5, 1.0))
    return babble_T


def to_16_bits(wave_T: Wave) -> Wave:
    """The wave rounded and clipped to the range of 16-bit integers, as float32."""
    limited_T: Wave = np.clip(np.rint(wave_T), -FULL_SCALE, FULL_SCALE).astype(np.float32)
    return limited_T


def echo_impulse(seconds: float, *, rng: np.random.Generator) -> Wave:
    """Impulse response of a room: direct sound, then noise that decays by 60 dB in `seconds`."""
    length = int(seconds * SAMPLE_RATE)
    delay = int(ECHO_DELAY_SECONDS * SAMPLE_RATE)
    tail = rng.standard_normal(length).astype(np.float32)
    tail *= np.power(10.0, -3.0 * np.arange(length) / length).astype(np.float32)
    tail[:delay] = 0.0
    tail *= np.float32(rng.uniform(*ECHO_LEVEL) / np.linalg.norm(tail))
    tail[0] = 1.0
    return tail


def make_noise(length: int, *, rng: np.random.Generator) -> Wave:
    """White, pink or brown noise, or mains hum with some white noise."""
    colour = (*NOISE_POWER_SLOPES, HUM)[int(rng.integers(len(NOISE_POWER_SLOPES) + 1))]
    white_T = rng.standard_normal(length, dtype=np.float32)
    if colour == HUM:
        return white_T * np.float32(0.3) + _hum(length, rng=rng)
    return _slope_spectrum(white_T, power_slope=NOISE_POWER_SLOPES[colour])


def tilt_spectrum(wave_T: Wave, *, db_per_octave: float) -> Wave:
    """The wave after a channel whose gain changes by `db_per_octave`."""
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
