"""Word spans: the frames of each word along a path of classes, by the lexicon.

A graph gives the label of a word when it is certain, which may be later than its first frame.
So the path is parsed: each state of a pronunciation takes one frame at least, and silence may lie
between words.

Shapes: T frames.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from stages.acoustic.lang.lang import SILENCE, Lang
from stages.acoustic.lang.lang_folder import AnyLang

Span = tuple[int, int]  # first frame, and the one after the last
States = tuple[int, ...]  # the class of each state of a pronunciation, left to right


@dataclass(frozen=True, slots=True)
class Spellings:
    """The states of each pronunciation of each word, and the classes of silence."""

    of_word: dict[str, tuple[States, ...]]
    silence: frozenset[int]

    @classmethod
    def of(cls, lang: AnyLang) -> Self | None:
        """The spellings of a lexicon in HMM states; None for a graph of Kaldi, and for tokens."""
        if not isinstance(lang, Lang):
            return None
        found: dict[str, dict[States, None]] = {}
        for entry in lang.lexicon:
            states = tuple(c for unit in entry.units for c in lang.units[unit])
            found.setdefault(entry.word, {})[states] = None
        of_word = {word: tuple(several) for word, several in found.items()}
        return cls(of_word, frozenset(lang.units[SILENCE]))

    def spans(self, words: Sequence[str], classes: Sequence[int]) -> list[Span] | None:
        """The span of each word; None if the path does not spell them from end to end.

        Where two words meet within frames of one class, the first one ends early.
        """
        # Of each word: the frames where it may end, with the span and the end of the word before.
        chart: list[dict[int, tuple[Span, int]]] = []
        before = [0]
        for word in words:
            ends: dict[int, tuple[Span, int]] = {}
            for end_before in before:
                for start in self._after_silence(classes, end_before):
                    for states in self.of_word.get(word, ()):
                        for end in _ends(states, classes, start):
                            ends.setdefault(end, ((start, end), end_before))
            chart.append(ends)
            before = sorted(ends)
        last = [end for end in before if len(classes) in self._after_silence(classes, end)]
        return _trace(chart, last[0]) if last else None

    def _after_silence(self, classes: Sequence[int], start: int) -> range:
        """The frames where a word may begin: here, or after some frames of silence."""
        end = start
        while end < len(classes) and classes[end] in self.silence:
            end += 1
        return range(start, end + 1)


def _ends(states: States, classes: Sequence[int], start: int) -> set[int]:
    """The frames where a pronunciation that begins at `start` may end."""
    ends = {start}
    for state in states:
        ends = {after for end in ends for after in _run(state, classes, end)}
    return ends


def _run(state: int, classes: Sequence[int], start: int) -> Iterator[int]:
    frame = start
    while frame < len(classes) and classes[frame] == state:
        frame += 1
        yield frame


def _trace(chart: Sequence[dict[int, tuple[Span, int]]], end: int) -> list[Span]:
    spans = []
    for ends in reversed(chart):
        span, end = ends[end]
        spans.append(span)
    return spans[::-1]
