"""HmmSteps: do alignments walk through the HMMs of transitions.txt? Else they are of another tree.

Nothing else tells: classes of another tree are numbers in the same range. Frames would be learnt,
and no word be right. From pdf to pdf an alignment goes to a next state of the same phone, or from
a last state to a first; every step of a fitting alignment does.

Shapes: T frames, C classes.
"""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.transitions import Transitions, TransitionState

MAX_STATES = 63  # of a phone: bits of a number
FIRST = 1 << 0  # a phone begins in state 0, in every topology of Kaldi


class HmmSteps:
    """Counts the steps of alignments, and those that the HMMs have."""

    def __init__(self, transitions: Transitions, *, num_classes: int) -> None:
        self._own_C = np.zeros(num_classes, np.int64)  # a bit for each state that has the pdf
        self._next_C = np.zeros(num_classes, np.int64)  # a bit for each state that may follow
        self._is_small = all(state.hmm_state < MAX_STATES for state in transitions.states)
        self.num_steps = self.num_fitting = 0
        states_of: dict[str, set[int]] = defaultdict(set)
        for state in transitions.states:
            states_of[state.phone].add(state.hmm_state)
        for state in transitions.states if self._is_small else ():
            self._add(state, states_of[state.phone])

    def _add(self, state: TransitionState, states_of_phone: set[int]) -> None:
        pdfs, own = {state.forward_pdf, state.loop_pdf}, 1 << state.hmm_state
        following = own if len(pdfs) == 2 else 0  # from the pdf of leaving to that of staying
        for target in state.targets:
            following |= 1 << target if target in states_of_phone else FIRST
        for pdf in pdfs:
            self._own_C[pdf] |= own
            self._next_C[pdf] |= following

    def count(self, labels_T: NDArray[np.int32]) -> None:
        """Count the steps of one alignment, of labels below `num_classes`."""
        if not self._is_small:
            return
        at = np.flatnonzero(np.diff(labels_T))  # the last frame before each step
        fits = (self._next_C[labels_T[at]] & self._own_C[labels_T[at + 1]]) != 0
        self.num_steps += len(at)
        self.num_fitting += int(fits.sum())

    @property
    def share(self) -> float:
        """Of the steps, those that fit: 1 in alignments of this tree."""
        return self.num_fitting / self.num_steps if self.num_steps else 1.0
