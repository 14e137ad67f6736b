"""Wave: resampling and convolution of whole utterances by the Fourier transform.

Shapes: T samples.
"""

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]


def fast_length(least: int) -> int:
    """The smallest number >= `least` without prime factors above 5."""
    best = 1 << max(0, least - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            ratio = -(-least // three)
            best = min(best, three << max(0, ratio - 1).bit_length())
            three *= 3
        five *= 5
    return best


def resample(wave_T: Wave, *, up: int, down: int) -> Wave:
    """The wave at up / down times the sample rate, exactly band-limited.

    Zeros are appended before the transform, whose result would otherwise wrap around.
    """
    length = len(wave_T) * up // down
    blocks = fast_length(len(wave_T) // down + 2)
    spectrum = np.fft.rfft(wave_T, n=blocks * down)[: blocks * up // 2 + 1]
    wave = np.fft.irfft(spectrum, n=blocks * up) * (up / down)
    return wave[:length].astype(np.float32)


def convolve(wave_T: Wave, impulse: Wave) -> Wave:
    """The wave convolved with `impulse`, cut to the length of the wave."""
    n = fast_length(len(wave_T) + len(impulse))
    spectrum = np.fft.rfft(wave_T, n=n) * np.fft.rfft(impulse, n=n)
    return np.fft.irfft(spectrum, n=n)[: len(wave_T)].astype(np.float32)


def root_mean_square(wave_T: Wave) -> float:
    """Root mean square of the samples; 0 for an empty wave."""
    return float(np.sqrt(np.mean(np.square(wave_T, dtype=np.float64)))) if len(wave_T) else 0.0
