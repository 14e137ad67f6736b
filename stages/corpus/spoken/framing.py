"""spoken utterance -> aligned utterance: segments, their states, and the state of every frame.

Shapes: T frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.rates import SAMPLE_RATE, num_frames_of
from stages.acoustic.lang.lang import SILENCE
from stages.corpus.spoken.alignment import align_states, spread_states
from stages.corpus.spoken.segments import Segment, find_segments
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken.synthesis import SAMPLE_RATE as SYNTHESIS_RATE
from stages.corpus.spoken.synthesis import SpokenUtterance
from stages.corpus.spoken.units import SILENCE_STATES, State, units_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedUtterance:
    """`states[state_of_frame_T[t]]` is the unit and state of frame t."""

    words: tuple[str, ...]
    segments: tuple[Segment, ...]
    states: tuple[State, ...]
    state_of_frame_T: NDArray[np.int64]


def num_samples_of(spoken: SpokenUtterance) -> int:
    """Number of samples of the sentence with its pauses, at the sample rate of the features."""
    planned = spoken.planned
    pauses = round(planned.lead_seconds * SYNTHESIS_RATE)
    pauses += round(planned.trail_seconds * SYNTHESIS_RATE)
    return (pauses + len(spoken.samples_T)) * SAMPLE_RATE // SYNTHESIS_RATE


def align_utterance(spoken: SpokenUtterance, settings: SpokenSettings) -> AlignedUtterance:
    """Find the state of every frame of an utterance.

    Raises:
        BadInput: if it has too few frames for its states.
    """
    segments = find_segments(spoken)
    lead = round(spoken.planned.lead_seconds * SYNTHESIS_RATE)
    starts = [(segment.start + lead) / SYNTHESIS_RATE for segment in segments]
    starts[0] = 0.0
    num_samples = num_samples_of(spoken)
    units = _units_of_segments(segments)
    num_states = [SILENCE_STATES if u == SILENCE else settings.states_per_unit for u in units]
    starts_S = spread_states(starts, num_samples / SAMPLE_RATE, num_states=num_states)
    return AlignedUtterance(
        words=spoken.planned.words,
        segments=segments,
        states=tuple(
            (unit, i) for unit, n in zip(units, num_states, strict=True) for i in range(n)
        ),
        state_of_frame_T=align_states(
            starts_S,
            num_frames=num_frames_of(num_samples),
            min_frames=settings.min_frames_per_state,
        ),
    )


def _units_of_segments(segments: tuple[Segment, ...]) -> list[str]:
    """The unit of every segment. Contexts end at words, so silences do not change them."""
    units: list[str] = []
    phones: list[str] = []
    for i, segment in enumerate(segments):
        if segment.name == SILENCE:
            units.append(SILENCE)
            continue
        phones.append(segment.name)
        is_last = i + 1 == len(segments) or segments[i + 1].word != segment.word
        if is_last:
            units.extend(units_of(phones))
            phones = []
    return units
