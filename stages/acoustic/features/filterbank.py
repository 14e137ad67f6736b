"""samples -> log-mel features, as Kaldi computes them.

Frames are 25 ms wide and 10 ms apart, without dither and with `snip_edges` off: frame t is centred
at (t + 0.5) * 10 ms, and belongs to the segment that contains its centre.

Shapes: T samples or frames, W samples of a frame, F mel bins or frequencies.
"""

import kaldi_native_fbank as knf
import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.rates import FRAME_SHIFT_MS, SAMPLE_RATE, num_frames_of

LOW_HERTZ, HIGH_HERTZ = 20.0, 7_600.0
NUM_FFT = 512  # the power of two above the 400 samples of a frame
ENERGY_FLOOR = 1.0


def log_mel(samples_T: NDArray[np.float32], *, num_mel_bins: int) -> NDArray[np.float32]:
    """Log-mel energies (T, F) of samples on the scale of 16-bit integers."""
    computer = knf.OnlineFbank(_options(num_mel_bins))
    computer.accept_waveform(SAMPLE_RATE, samples_T)
    computer.input_finished()
    frames = [computer.get_frame(t) for t in range(computer.num_frames_ready)]
    return np.array(frames, dtype=np.float32).reshape(len(frames), num_mel_bins)


def warped_log_mel(
    samples_T: NDArray[np.float32], *, num_mel_bins: int, warp: float
) -> NDArray[np.float32]:
    """The features of a vocal tract shorter by `warp`: every resonance is `warp` times as high.

    The filters are moved as Kaldi moves them for vocal tract length normalisation: linear in the
    middle of the band, bent towards its ends so that no filter leaves it. With `warp` 1 the result
    is that of `log_mel`, up to rounding (1e-4).
    """
    frame_options = _options(num_mel_bins).frame_opts
    window = np.array(knf.FeatureWindowFunction(frame_options).window, dtype=np.float32)
    shift = round(SAMPLE_RATE * FRAME_SHIFT_MS / 1000)
    # Frame t is centred at (t + 0.5) shifts; beyond its ends the sound is mirrored.
    padded_T = np.pad(samples_T, len(window) // 2, mode="symmetric")
    starts = shift // 2 + shift * np.arange(num_frames_of(len(samples_T)))
    frames_TW = padded_T[starts[:, np.newaxis] + np.arange(len(window))]
    frames_TW = frames_TW - frames_TW.mean(axis=1, keepdims=True)
    before_TW = np.concatenate([frames_TW[:, :1], frames_TW[:, :-1]], axis=1)
    frames_TW = (frames_TW - np.float32(frame_options.preemph_coeff) * before_TW) * window
    power_TF = np.square(np.abs(np.fft.rfft(frames_TW, n=NUM_FFT)))
    filters = knf.MelBanks(_options(num_mel_bins).mel_opts, frame_options, warp).get_matrix()
    energy_TF = power_TF[:, : filters.shape[1]] @ filters.T.astype(np.float64)
    logs_TF: NDArray[np.float32] = np.log(np.maximum(energy_TF, ENERGY_FLOOR)).astype(np.float32)
    return logs_TF


def _options(num_mel_bins: int) -> knf.FbankOptions:
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = SAMPLE_RATE
    options.frame_opts.frame_shift_ms = FRAME_SHIFT_MS
    options.frame_opts.dither = 0.0
    options.frame_opts.snip_edges = False
    options.mel_opts.num_bins = num_mel_bins
    options.mel_opts.low_freq = LOW_HERTZ
    options.mel_opts.high_freq = HIGH_HERTZ
    options.energy_floor = ENERGY_FLOOR
    return options
