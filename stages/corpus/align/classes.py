"""Classes of an alignment: one for each state of a phone, then tied by context.

A context has a separate class where it has enough frames; others share the class of their left
context, or of the phone (spoken/units.py).
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stages.acoustic.lang.lang import SILENCE
from stages.corpus.align.hmms import Alignment, ClassOf, Hmms, Transcribed
from stages.corpus.spoken.units import SILENCE_STATES, State, UnitClasses, phone_of_unit


class PhoneClasses:
    """A class for each state of silence and of each phone, whatever its context."""

    def __init__(self, phones: Sequence[str], *, states_per_phone: int) -> None:
        states = [(SILENCE, number) for number in range(SILENCE_STATES)]
        states += [(phone, number) for phone in phones for number in range(states_per_phone)]
        self._classes = {state: number for number, state in enumerate(states)}
        self.num_classes = len(states)

    def class_of(self, state: State) -> int:
        """The class of a state of a unit."""
        unit, number = state
        return self._classes[phone_of_unit(unit), number]


def tie_contexts(
    alignment: Alignment, train: Transcribed, hmms: Hmms, *, min_count: int
) -> UnitClasses:
    """Classes of units by the frames that the alignment gives them."""
    counts: Counter[State] = Counter()
    for number, state_T in alignment.items():
        states = hmms.of(train.words_of[number]).states
        num_frames_S = np.bincount(state_T, minlength=len(states))
        for state in np.flatnonzero(num_frames_S):
            counts[states[state]] += int(num_frames_S[state])
    return UnitClasses(
        counts, phones=hmms.phones, states_per_unit=hmms.states_per_phone, min_count=min_count
    )


def class_of_unit(classes: UnitClasses) -> ClassOf:
    """The lookup of one state of a unit."""
    return lambda state: classes.of(state[0])[state[1]]
