"""samples -> log-mel features, as Kaldi computes them.

Frames are 25 ms wide and 10 ms apart, without dither, with `snip_edges` off: frame t is centred at
(t + 0.5) * 10 ms, so the frames of a stretch of sound are those whose centres lie in it.

Shapes: T samples or frames, F mel bins.
"""

import kaldi_native_fbank as knf
import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
FRAME_SHIFT_MS = 10.0
LOW_HERTZ, HIGH_HERTZ = 20.0, 7_600.0


def log_mel(samples_T: NDArray[np.float32], *, num_mel_bins: int) -> NDArray[np.float32]:
    """Log-mel energies (T, F) of samples on the scale of 16-bit integers."""
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.frame_shift_ms = FRAME_SHIFT_MS
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = num_mel_bins
    options.mel_opts.low_freq = LOW_HERTZ
    options.mel_opts.high_freq = HIGH_HERTZ
    options.energy_floor = 1.0
    computer = knf.OnlineFbank(options)
    computer.accept_waveform(SAMPLE_RATE, samples_T)
    computer.input_finished()
    frames = [computer.get_frame(t) for t in range(computer.num_frames_ready)]
    return np.array(frames, dtype=np.float32).reshape(len(frames), num_mel_bins)


def num_frames_of(num_samples: int) -> int:
    """How many frames `log_mel` gives."""
    shift = round(SAMPLE_RATE * FRAME_SHIFT_MS / 1000)
    return (num_samples + shift // 2) // shift
