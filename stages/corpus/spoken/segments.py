"""events + samples -> segments: the start of each phone and each silence, in samples.

An event of the synthesiser marks the start of a phone's sound. The closure of a stop, the silence
before its burst, is earlier: it is found in the clean samples and assigned to the stop.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.lang import SILENCE
from stages.corpus.spoken.phones import LIQUIDS, STOPS, VOWELS, is_pause, phone_of
from stages.corpus.spoken.synthesis import SAMPLE_RATE, SpokenUtterance

NO_WORD = -1
HOP = SAMPLE_RATE // 500  # 2 ms, in samples
QUIET_SHARE = 0.05  # of the root mean square of the whole sentence
LONGEST_CLOSURE = SAMPLE_RATE * 60 // 1000
SHORTEST_SILENCE = SAMPLE_RATE * 60 // 1000
SHORTEST_LIQUID = SAMPLE_RATE * 12 // 1000
LIQUID_SHARE = 0.4  # of the time of a vowel and the liquid that ends it


@dataclass(frozen=True, slots=True)
class Segment:
    """`name` (a phone or SIL) from sample `start` until the next segment."""

    start: int
    name: str
    word: int


def find_segments(spoken: SpokenUtterance) -> tuple[Segment, ...]:
    """The phones of the words in order, with the silences before, after and between words."""
    quiet_H = _quiet_blocks(spoken.samples_T)
    segments = [Segment(0, SILENCE, NO_WORD)]
    last_word = NO_WORD
    for event in spoken.events:
        if is_pause(event.name):
            if segments[-1].name != SILENCE:
                segments.append(Segment(event.sample, SILENCE, NO_WORD))
            continue
        phone = phone_of(event.name)
        if phone is None:
            continue
        earliest = spoken.word_starts[event.word] if event.word != last_word else None
        last_word = event.word
        start = _sound_start(event.sample, quiet_H, previous=segments[-1], earliest=earliest)
        closure = min(event.sample - start, LONGEST_CLOSURE) if phone in STOPS else 0
        is_gap = event.sample - closure - start >= SHORTEST_SILENCE
        if earliest is not None and is_gap and segments[-1].name != SILENCE:
            segments.append(Segment(start, SILENCE, NO_WORD))
        if is_gap or segments[-1].name == SILENCE:
            start = max(event.sample - closure, segments[-1].start)
        segments.append(Segment(start, phone, event.word))
    return _without_short_silences(_share_liquids(segments), len(spoken.samples_T))


def _quiet_blocks(samples_T: NDArray[np.int16]) -> NDArray[np.bool_]:
    blocks_HB = samples_T[: len(samples_T) // HOP * HOP].reshape(-1, HOP).astype(np.float64)
    power_H = np.mean(blocks_HB**2, axis=1)
    return np.asarray(power_H <= QUIET_SHARE**2 * power_H.mean())


def _sound_start(
    sample: int, quiet_H: NDArray[np.bool_], *, previous: Segment, earliest: int | None
) -> int:
    """Start of the time that is assigned to the phone at `sample`.

    The first phone of a word gets all time since the start of the word. Other phones get the
    silence before them, at most half of the time of the previous phone.
    """
    if earliest is not None:
        return max(earliest, previous.start)
    block = sample // HOP
    while block > 0 and quiet_H[min(block - 1, len(quiet_H) - 1)]:
        block -= 1
    return min(sample, max(block * HOP, (previous.start + sample) // 2))


def _share_liquids(segments: list[Segment]) -> list[Segment]:
    """Give the end of a vowel to a liquid that ends its syllable, for which events have no time."""
    shared = list(segments)
    for i in range(1, len(shared) - 1):
        vowel, liquid, after = shared[i - 1], shared[i], shared[i + 1]
        is_short = after.start - liquid.start < SHORTEST_LIQUID
        if liquid.name in LIQUIDS and vowel.name in VOWELS and is_short:
            own = round(LIQUID_SHARE * (after.start - vowel.start))
            shared[i] = Segment(after.start - own, liquid.name, liquid.word)
    return shared


def _without_short_silences(segments: list[Segment], num_samples: int) -> tuple[Segment, ...]:
    """Drop short silences between words; their time is assigned to the previous phone."""
    ends = [segment.start for segment in segments[1:]] + [num_samples]
    last = len(segments) - 1
    return tuple(
        segment
        for i, (segment, end) in enumerate(zip(segments, ends, strict=True))
        if segment.name != SILENCE or i in (0, last) or end - segment.start >= SHORTEST_SILENCE
    )
