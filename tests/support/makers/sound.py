"""Makers of sounds: tones, and noise with the ups and downs of speech."""

import numpy as np


def tone(hertz: float, *, rate: int, seconds: float) -> np.ndarray:
    """A tone that rises and falls, float32, at most 1000."""
    t = np.arange(round(rate * seconds)) / rate
    return (1000 * np.sin(2 * np.pi * hertz * t) * np.hanning(len(t))).astype(np.float32)


def speechlike(seed: int, length: int = 16_011) -> np.ndarray:
    """White noise whose level moves as that of syllables does."""
    rng = np.random.default_rng(seed)
    wave = rng.standard_normal(length) * np.sin(np.arange(length) / 700) ** 2
    return (2000 * wave).astype(np.float32)


def pitch_of(wave_T: np.ndarray, *, rate: int = 16_000) -> float:
    """Frequency of the strongest tone, in Hz, between the Fourier bins by a parabola."""
    power = np.log(np.abs(np.fft.rfft(wave_T * np.hanning(len(wave_T)))) + 1e-9)
    at = 1 + int(np.argmax(power[1:-1]))
    left, top, right = power[at - 1 : at + 2]
    return (at + 0.5 * (left - right) / (left - 2 * top + right)) * rate / len(wave_T)
