"""Voices: the speakers of each split. No voice occurs in two splits.

A speaker is a variant of espeak-ng (a vocal tract) with an accent, a pitch and a rate. The splits
have disjoint variants.
"""

from dataclasses import dataclass

import numpy as np

from stages.corpus.spoken.sentences import words_of
from stages.corpus.spoken.settings import SpokenSettings

# Voice names of espeak-ng 1.52, which does not accept "en-gb".
ACCENTS = {
    "us": "en-us",
    "gb": "gmw/en",
    "scotland": "en-gb-scotland",
    "caribbean": "en-029",
    "rp": "en-gb-x-rp",
    "lancaster": "en-gb-x-gbclan",
    "westmidlands": "en-gb-x-gbcwmd",
    "newyork": "en-us-nyc",
}

# Without whispers, robots, strong echoes, and variants that are almost identical to another.
TRAIN_VARIANTS = words_of(
    "Alex Alicia Andy Annie Denis Diogo Gene Jacky Lee Marco Mario Michael Mike Nguyen Reed adam "
    "anika antonio aunty boris caleb david ed edward f1 f2 f4 f5 gustave ian iven iven2 john "
    "kaukovalta klatt klatt3 klatt5 linda m1 m3 m5 m7 max michel miguel norbert pablo paul "
    "quincy rob sandro shelby steph"
)
DEV_VARIANTS = words_of("Andrea Henrique belinda edward2 klatt2 m2 m8 robert steph2 travis")
TEST_VARIANTS = words_of(
    "Gene2 Hugo benjamin f3 grandma grandpa klatt4 m4 m6 marcelo mike2 pedro steph3 victor"
)
VARIANTS = {"train": TRAIN_VARIANTS, "dev": DEV_VARIANTS, "test": TEST_VARIANTS}
SPLITS = tuple(VARIANTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """One voice. Pitch and range are espeak-ng's 0 to 99, relative to those of the variant."""

    id: str
    accent: str
    variant: str
    pitch: int
    pitch_range: int
    words_per_minute: int


def speakers_of(split: str, settings: SpokenSettings) -> tuple[Speaker, ...]:
    """The speakers of a split: all variants once, then again with other accents."""
    variants = VARIANTS[split]
    num_speakers = getattr(settings, f"{split}_voices")
    rng = np.random.default_rng([settings.seed, SPLITS.index(split), 0])
    order = [variants[i] for i in rng.permutation(len(variants))]
    accents = tuple(ACCENTS)
    shift = int(rng.integers(len(accents)))
    speakers = []
    for index in range(num_speakers):
        turn, place = divmod(index, len(order))
        variant = order[place]
        accent = accents[(shift + place + turn) % len(accents)]
        low, high = settings.words_per_minute_low, settings.words_per_minute_high
        speakers.append(
            Speaker(
                id=f"{variant.lower()}.{accent}.{index:02d}",
                accent=ACCENTS[accent],
                variant=variant,
                pitch=int(rng.integers(30, 71)),
                pitch_range=int(rng.integers(20, 81)),
                words_per_minute=int(rng.integers(low, high + 1)),
            )
        )
    return tuple(speakers)
