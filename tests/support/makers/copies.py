"""Makers of recordings to be copied, by several speakers."""

import numpy as np

from stages.corpus.copies.original import Original
from stages.corpus.sound.filterbank import num_frames_of
from stages.corpus.sound.recording import Recording
from stages.corpus.sound.wave import Wave
from tests.support.makers.sound import speechlike


def make_recording(id: str, *, speaker: str = "anna", seed: int = 1, length: int = 16_011):
    """Noise with the ups and downs of speech; a label for every frame, in runs of odd lengths."""
    num_frames = num_frames_of(length)
    return Recording(
        id=id,
        speaker=speaker,
        transcript="ONE TWO",
        samples_T=np.rint(speechlike(seed, length)),
        labels_T=np.repeat(np.arange(num_frames, dtype=np.int32), 7)[:num_frames],
    )


def make_recordings() -> list[Recording]:
    """Seven utterances of three speakers, of unlike lengths."""
    return [
        make_recording(f"u{n}", speaker=f"s{n % 3}", seed=n, length=9_000 + 1_111 * n)
        for n in range(7)
    ]


class ToneSpeech:
    """Other speech that is one tone."""

    def draw(self, num_voices: int, *, rng: np.random.Generator) -> list[Wave]:
        """The same tone from every voice."""
        t = np.arange(5_000) / 16_000
        return [(1000 * np.sin(2 * np.pi * 440 * t)).astype(np.float32)] * num_voices


def make_original(recording: Recording) -> Original:
    """A recording whose babble is a tone of 440 Hz."""
    return Original(recording=recording, others=ToneSpeech())
