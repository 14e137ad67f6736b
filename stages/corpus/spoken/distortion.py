"""clean samples -> what a microphone records: echo, noise or other voices, channel, gain.

No step shifts the sound by more than a sample, so that labels of frames stay valid.

Shapes: T samples.
"""

from collections import deque

import numpy as np

from stages.corpus.sound.noise import (
    BABBLE_VOICES,
    add_noise,
    echo_impulse,
    make_noise,
    mix_babble,
    tilt_spectrum,
    to_16_bits,
)
from stages.corpus.sound.wave import Wave, convolve, root_mean_square
from stages.corpus.spoken.settings import DistortionSettings

SPEECH_LEVEL = 1_500.0  # root mean square of the speech, of 32768
CROWD_MEMORY = 12  # recent sentences that babble is mixed from


def at_speech_level(clean_T: Wave) -> Wave:
    """The sentence scaled to a root mean square of SPEECH_LEVEL."""
    return clean_T * np.float32(SPEECH_LEVEL / max(root_mean_square(clean_T), 1.0))


class Room:
    """Distorts the sentences of one split. Recent sentences are kept: babble is mixed from them."""

    def __init__(self, settings: DistortionSettings) -> None:
        self._settings = settings
        self._crowd: deque[Wave] = deque(maxlen=CROWD_MEMORY)

    def record(self, clean_T: Wave, *, rng: np.random.Generator) -> Wave:
        """One distorted sentence; it depends on the sentences before it and the state of `rng`."""
        settings = self._settings
        voice_T = at_speech_level(clean_T)
        noisy_T = voice_T
        if rng.random() < settings.echo_share:
            seconds = rng.uniform(settings.echo_seconds_low, settings.echo_seconds_high)
            noisy_T = convolve(noisy_T, echo_impulse(seconds, rng=rng))
        wants_babble = rng.random() < settings.babble_share
        if wants_babble and len(self._crowd) >= BABBLE_VOICES[1]:
            noise_T = self._babble(len(noisy_T), rng=rng)
        else:
            noise_T = make_noise(len(noisy_T), rng=rng)
        snr_db = rng.uniform(settings.snr_db_low, settings.snr_db_high)
        noisy_T = add_noise(noisy_T, noise_T, snr_db=snr_db)
        tilt = rng.uniform(-settings.tilt_db_per_octave, settings.tilt_db_per_octave)
        gain_db = rng.uniform(-settings.gain_db, settings.gain_db)
        noisy_T = tilt_spectrum(noisy_T, db_per_octave=tilt) * np.float32(10 ** (gain_db / 20))
        self._crowd.append(voice_T)
        return to_16_bits(noisy_T)

    def _babble(self, length: int, *, rng: np.random.Generator) -> Wave:
        chosen = rng.permutation(len(self._crowd))
        voices = chosen[: rng.integers(BABBLE_VOICES[0], BABBLE_VOICES[1] + 1)]
        return mix_babble((self._crowd[index] for index in voices), length=length, rng=rng)
