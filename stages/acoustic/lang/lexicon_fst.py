"""lexicon -> L: units to words, with optional SIL and disambiguation symbols.

As in Kaldi's make_lexicon_fst, SIL is allowed at the start and after every word. A pronunciation
that another word shares, or that is a prefix of a longer one, ends in #1, #2 ..., so that L o G can
be determinised; SIL ends in the last of them. #0 passes the back-off of G.

            eps                  unit:word ... unit:eps
    START ------> LOOP ------------------------> LOOP | SILENT
    START ------> SILENT -- SIL -- #last ------> LOOP
"""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import kaldifst

from stages.acoustic.lang.grammar import BACKOFF
from stages.acoustic.lang.lang import SILENCE, Lang, Pronunciation

EPSILON = 0
SILENCE_COST = math.log(2)  # nats: SIL with probability 0.5, at the start and after every word
START, LOOP, SILENT, SILENCE_ENDS = range(4)


@dataclass(frozen=True, slots=True)
class LexiconSymbols:
    """Numbers of words and units; `disambiguation` has the numbers of #0, #1, ... among units."""

    words: dict[str, int]
    units: dict[str, int]
    disambiguation: tuple[int, ...]

    @classmethod
    def of(cls, lang: Lang, words: dict[str, int]) -> Self:
        """Units are numbered from 1, followed by #0 and the symbols of homophones and of SIL."""
        units = {unit: number for number, unit in enumerate(lang.units, start=1)}
        most = max(disambiguate(lang.lexicon), default=0)
        first = len(units) + 1
        return cls(words, units, tuple(range(first, first + most + 2)))


def disambiguate(lexicon: Iterable[Pronunciation]) -> list[int]:
    """The number of the disambiguation symbol of every entry, 0 if it needs none."""
    entries = list(lexicon)
    num_entries = Counter(entry.units for entry in entries)
    prefixes = {entry.units[:length] for entry in entries for length in range(1, len(entry.units))}
    used: Counter[tuple[str, ...]] = Counter()
    numbers = []
    for entry in entries:
        if num_entries[entry.units] > 1 or entry.units in prefixes:
            used[entry.units] += 1
        numbers.append(used[entry.units])
    return numbers


def lexicon_fst(lang: Lang, symbols: LexiconSymbols) -> kaldifst.StdVectorFst:
    """L, sorted by output label, over the numbers of `symbols`."""
    fst = kaldifst.StdVectorFst()
    for _ in (START, LOOP, SILENT, SILENCE_ENDS):
        fst.add_state()
    fst.start = START
    fst.set_final(LOOP, 0.0)
    last = symbols.disambiguation[-1]
    _arc(fst, START, EPSILON, EPSILON, SILENCE_COST, LOOP)
    _arc(fst, START, EPSILON, EPSILON, SILENCE_COST, SILENT)
    _arc(fst, SILENT, symbols.units[SILENCE], EPSILON, 0.0, SILENCE_ENDS)
    _arc(fst, SILENCE_ENDS, last, EPSILON, 0.0, LOOP)
    _arc(fst, LOOP, symbols.disambiguation[0], symbols.words[BACKOFF], 0.0, LOOP)
    for entry, number in zip(lang.lexicon, disambiguate(lang.lexicon), strict=True):
        labels = [symbols.units[unit] for unit in entry.units]
        labels += [symbols.disambiguation[number]] if number else []
        _add_word(fst, labels, symbols.words[entry.word])
    kaldifst.arcsort(fst, "olabel")
    return fst


def _add_word(fst: kaldifst.StdVectorFst, labels: list[int], word: int) -> None:
    state, output = LOOP, word
    for label in labels[:-1]:
        target = fst.add_state()
        _arc(fst, state, label, output, 0.0, target)
        state, output = target, EPSILON
    for target in (LOOP, SILENT):
        _arc(fst, state, labels[-1], output, SILENCE_COST, target)


def _arc(
    fst: kaldifst.StdVectorFst, source: int, label: int, output: int, cost: float, target: int
) -> None:
    fst.add_arc(source, kaldifst.StdArc(label, output, cost, target))
