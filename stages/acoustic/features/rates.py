"""Rates: samples and frames in a second of sound, and frames of a number of samples."""

SAMPLE_RATE = 16_000
FRAME_SHIFT_MS = 10.0


def num_frames_of(num_samples: int) -> int:
    """Number of frames that the features of `num_samples` samples have."""
    shift = round(SAMPLE_RATE * FRAME_SHIFT_MS / 1000)
    return (num_samples + shift // 2) // shift
