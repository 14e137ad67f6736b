"""TranscriptHmm: the HMM states that spell one transcript, with optional silence between words.

    SIL?  word  SIL?  word  SIL?       a word is one of its pronunciations, each a chain of states

Every state stays or goes on to the next one; all steps are equally likely.

Shapes: S states, K states that may come before a state, itself included.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.lang import SILENCE
from stages.corpus.spoken.units import SILENCE_STATES, State, units_of

Phones = tuple[str, ...]
START = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptHmm:
    """States in an order in which each comes after all that may precede it.

    `before_KS[:, s]` are the states before s, filled up with S. `word_S` is the number of a state's
    word, -1 in silence; `may_start_S` and `may_end_S` are the states where a path begins and ends.
    """

    states: tuple[State, ...]
    word_S: NDArray[np.int64]
    before_KS: NDArray[np.int64]
    may_start_S: NDArray[np.bool_]
    may_end_S: NDArray[np.bool_]
    first_choice: tuple[int, ...]  # states of the first pronunciation of each word
    min_frames: int

    @classmethod
    def of(
        cls,
        words: Sequence[str],
        pronunciations: Mapping[str, Sequence[Phones]],
        *,
        states_per_phone: int,
    ) -> "TranscriptHmm":
        """The states of a transcript; every word has a pronunciation."""
        chains = _Chains()
        silence = [(SILENCE, number) for number in range(SILENCE_STATES)]
        ends = [START]
        ends = [*ends, chains.add(silence, after=ends, word=-1)]
        first_choice: list[int] = []
        for number, word in enumerate(words):
            spelled = [
                chains.add(_states(phones, states_per_phone), after=ends, word=number)
                for phones in pronunciations[word]
            ]
            num_states = states_per_phone * len(pronunciations[word][0])
            first_choice.extend(range(spelled[0] - num_states + 1, spelled[0] + 1))
            ends = [*spelled, chains.add(silence, after=spelled, word=-1)]
        return chains.finish(ends, first_choice=tuple(first_choice))


def _states(phones: Phones, states_per_phone: int) -> list[State]:
    return [(unit, number) for unit in units_of(phones) for number in range(states_per_phone)]


class _Chains:
    """Chains of states, each entered from the ends of others."""

    def __init__(self) -> None:
        self._states: list[State] = []
        self._words: list[int] = []
        self._before: list[list[int]] = []
        self._min_frames: list[int] = []

    def add(self, states: Sequence[State], *, after: Sequence[int], word: int) -> int:
        """Add a chain; returns its last state."""
        before = list(after)
        for state in states:
            own = len(self._states)
            self._states.append(state)
            self._words.append(word)
            self._before.append([own, *before])
            shortest = min(0 if other == START else self._min_frames[other] for other in before)
            self._min_frames.append(1 + shortest)
            before = [own]
        return before[0]

    def finish(self, ends: Sequence[int], *, first_choice: tuple[int, ...]) -> TranscriptHmm:
        """The HMM whose paths end in one of `ends`."""
        num_states = len(self._states)
        width = max(len(before) for before in self._before)
        before_KS = np.full((width, num_states), num_states, np.int64)
        may_start_S = np.zeros(num_states, np.bool_)
        for state, before in enumerate(self._before):
            others = [other for other in before if other != START]
            before_KS[: len(others), state] = others
            may_start_S[state] = START in before
        may_end_S = np.zeros(num_states, np.bool_)
        may_end_S[[end for end in ends if end != START]] = True
        return TranscriptHmm(
            states=tuple(self._states),
            word_S=np.array(self._words, np.int64),
            before_KS=before_KS,
            may_start_S=may_start_S,
            may_end_S=may_end_S,
            first_choice=first_choice,
            min_frames=min(self._min_frames[end] for end in ends if end != START),
        )
