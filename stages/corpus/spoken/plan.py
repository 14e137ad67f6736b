"""settings -> plan of a split: sentences, the speaker of each, and the pauses around it.

The plan is infinite and deterministic; `speak_split` stops after the wanted duration.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.corpus.spoken.sentences import sentence
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken.voices import SPLITS, Speaker, speakers_of

PLAN_STREAM, DISTORTION_STREAM = 1, 2  # of random numbers; 0 is the stream of the voices
TEXT_STREAM = len(SPLITS)
PAUSE_SECONDS = (0.10, 0.25)  # before and after a sentence
MAX_WORD_GAP = 3  # of 10 ms


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedUtterance:
    """One sentence to be synthesised."""

    id: str
    speaker: Speaker
    words: tuple[str, ...]
    words_per_minute: int
    word_gap: int
    lead_seconds: float
    trail_seconds: float
    distortion_seed: tuple[int, ...]


def plan_utterances(split: str, settings: SpokenSettings) -> Iterator[PlannedUtterance]:
    """The infinite sequence of sentences of a split; the speakers take turns."""
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), PLAN_STREAM])
    speakers = speakers_of(split, settings)
    index = 0
    while True:
        speaker = speakers[index % len(speakers)]
        yield PlannedUtterance(
            id=f"{speaker.id}-{index:06d}",
            speaker=speaker,
            words=sentence(rng),
            words_per_minute=round(speaker.words_per_minute * rng.uniform(0.92, 1.08)),
            word_gap=int(rng.integers(MAX_WORD_GAP + 1)),
            lead_seconds=float(rng.uniform(*PAUSE_SECONDS)),
            trail_seconds=float(rng.uniform(*PAUSE_SECONDS)),
            distortion_seed=(settings.seed, SPLITS.index(split), DISTORTION_STREAM, index),
        )
        index += 1


def plan_text(settings: SpokenSettings) -> list[tuple[str, ...]]:
    """Sentences for the language model, which are not spoken."""
    rng = np.random.default_rng([settings.seed, TEXT_STREAM, PLAN_STREAM])
    return [sentence(rng) for _ in range(settings.lm_sentences)]
