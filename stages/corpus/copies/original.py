"""What a copy is made from, and the random numbers of a copy.

Shapes: T samples.
"""

import hashlib
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from stages.corpus.sound.recording import Recording
from stages.corpus.sound.wave import Wave


class OtherSpeech(Protocol):
    """Recordings of the same split by other speakers."""

    def draw(self, num_voices: int, *, rng: np.random.Generator) -> list[Wave]:
        """Sentences to mix babble from. The order of the split does not matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """One recording, and the speech around it."""

    recording: Recording
    others: OtherSpeech


@dataclass(frozen=True, slots=True)
class Perturbed:
    """The samples of a copy; its features take filters warped by `filter_warp`."""

    samples_T: Wave
    filter_warp: float = 1.0


def rng_of(seed: int, *, copy: str, id: str) -> np.random.Generator:
    """The random numbers of one copy of one utterance: they follow from these three alone."""
    digest = hashlib.sha256(f"{seed}\0{copy}\0{id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16]))
