"""Tempo: speech faster or slower at the same pitch, by waveform similarity overlap-add (WSOLA).

Windows of the input are laid over the output HOP samples apart. Each is taken near the place that
the tempo gives it, up to SEARCH samples away, where the input is most like the continuation of the
window before: so the periods of a voice meet in phase. (Verhelst and Roelands 1993, "An overlap-add
technique based on waveform similarity (WSOLA)", ICASSP.)

Shapes: T samples, W samples of a window, D displacements.
"""

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.rates import SAMPLE_RATE
from stages.corpus.sound.wave import Wave

HOP = SAMPLE_RATE * 15 // 1000
WINDOW = 2 * HOP
SEARCH = SAMPLE_RATE * 8 // 1000  # either way: together more than the period of a low voice


def change_tempo(wave_T: Wave, *, tempo: float) -> Wave:
    """The sentence at `tempo` times its pace, round(T / tempo) samples long.

    A sound stands at most SEARCH samples from the place that the tempo gives it.
    """
    length = round(len(wave_T) / tempo)
    padded_T = np.pad(wave_T.astype(np.float64), (HOP + SEARCH, 3 * WINDOW + SEARCH))
    # Hann windows HOP apart add up to 1, so that tempo 1 gives the input back.
    window_W = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    num_windows = length // HOP + 2
    out_T = np.zeros(num_windows * HOP + WINDOW)
    at = SEARCH
    for number in range(num_windows):
        # Rounding may put the last windows past the end: they are silent there.
        nominal = SEARCH + min(round(number * HOP * tempo), len(wave_T) + HOP)
        if number:
            continuation_W = padded_T[at + HOP : at + HOP + WINDOW]
            at = nominal + _best_displacement(padded_T, nominal, continuation_W)
        out_T[number * HOP : number * HOP + WINDOW] += window_W * padded_T[at : at + WINDOW]
    return out_T[HOP : HOP + length].astype(np.float32)


def _best_displacement(
    padded_T: NDArray[np.float64], nominal: int, continuation_W: NDArray[np.float64]
) -> int:
    """Displacement of the window that is most like `continuation_W`, by normalised correlation."""
    region = padded_T[nominal - SEARCH : nominal + SEARCH + WINDOW]
    sums = np.cumsum(np.concatenate([[0.0], np.square(region)]))
    energy_D = np.maximum(sums[WINDOW:] - sums[:-WINDOW], 1.0)  # silence: no division by zero
    likeness_D = np.correlate(region, continuation_W, mode="valid") / np.sqrt(energy_D)
    best = int(np.argmax(likeness_D))
    # In silence all are alike: argmax would drift to one side.
    return best - SEARCH if likeness_D[best] > likeness_D[SEARCH] else 0
