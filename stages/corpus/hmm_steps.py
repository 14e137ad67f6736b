"""HmmSteps: how many steps of alignments are transitions of the HMMs in transitions.txt.

Alignments made with another decision tree have pdf ids in the same range, so that no other check
finds them: models would learn the frames, and every decoded word would be wrong. In an alignment of
the right tree every change of pdf goes to a next state of the same phone, or from a last state to
the first state of a phone.

Shapes: T frames, C classes.
"""

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.transitions import Transitions, TransitionState

MAX_STATES = 63  # of a phone: sets of states are the bits of an int64
FIRST = 1 << 0  # a phone begins in state 0 in all of Kaldi's topologies


class HmmSteps:
    """Counts the steps of alignments, and how many of them the HMMs allow."""

    def __init__(self, transitions: Transitions, *, num_classes: int) -> None:
        self._own_C = np.zeros(num_classes, np.int64)  # bits: states with this pdf
        self._next_C = np.zeros(num_classes, np.int64)  # bits: states that may follow it
        self._is_small = all(state.hmm_state < MAX_STATES for state in transitions.states)
        self.num_steps = self.num_fitting = 0
        states_of: dict[str, set[int]] = defaultdict(set)
        for state in transitions.states:
            states_of[state.phone].add(state.hmm_state)
        for state in transitions.states if self._is_small else ():
            self._add(state, states_of[state.phone])

    def _add(self, state: TransitionState, states_of_phone: set[int]) -> None:
        pdfs, own = {state.forward_pdf, state.loop_pdf}, 1 << state.hmm_state
        following = own if len(pdfs) == 2 else 0  # from its forward pdf to its self-loop pdf
        for target in state.targets:
            following |= 1 << target if target in states_of_phone else FIRST
        for pdf in pdfs:
            self._own_C[pdf] |= own
            self._next_C[pdf] |= following

    def count(self, labels_T: NDArray[np.int32]) -> None:
        """Count the steps of one alignment, whose labels are below `num_classes`."""
        if not self._is_small:
            return
        at = np.flatnonzero(np.diff(labels_T))  # the last frame before each step
        fits = (self._next_C[labels_T[at]] & self._own_C[labels_T[at + 1]]) != 0
        self.num_steps += len(at)
        self.num_fitting += int(fits.sum())

    @property
    def share(self) -> float:
        """Share of the steps that the HMMs allow: 1 for alignments of the same tree."""
        return self.num_fitting / self.num_steps if self.num_steps else 1.0
