"""MAPSSWE: the matched-pairs sentence-segment word error test (Gillick and Cox 1989), as NIST's.

An utterance is cut into segments whose errors do not touch: between two of them lie at least
GOOD_WORDS words that all systems have right, with nothing inserted. In every segment with an error
the numbers of errors are subtracted; z is the mean difference divided by its standard error.

Seeds are pooled inside a segment, as the mean over them; then "all systems" are all seeds of both.
So segments stay independent. The test is about other speech, not about other trainings. With one
seed each it equals NIST's `sc_stats -t mapsswe`.

Shapes: R reference words of an utterance; place R is after the last.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.contract.results import SplitResult, UtteranceResult
from stages.report.statistics.word_alignment import NO_WORD, align_words

GOOD_WORDS = 2  # NIST's minimum


@dataclass(frozen=True, slots=True)
class Marks:
    """Errors of one utterance, summed over seeds: words wrong, and insertions before each place."""

    wrong_R: NDArray[np.int64]
    inserted_R1: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MarkedSystem:
    """The marks of a group of seeds, utterance by utterance."""

    num_seeds: int
    utterances: tuple[Marks, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPairs:
    """Result of the test. `mean` is in errors per segment, system minus rival."""

    num_segments: int
    mean: float
    z: float
    p: float  # two-sided


def mark_system(splits: Sequence[SplitResult]) -> MarkedSystem:
    """Align the words of each seed, once for all rivals."""
    by_utterance = zip(*(split.utterances for split in splits), strict=True)
    return MarkedSystem(len(splits), tuple(_mark(same) for same in by_utterance))


def _mark(seeds: Sequence[UtteranceResult]) -> Marks:
    num_words = len(seeds[0].reference.split())
    wrong_R, inserted_R1 = np.zeros(num_words, np.int64), np.zeros(num_words + 1, np.int64)
    for item in seeds:
        place = 0
        for reference, hypothesis in align_words(item.reference, item.hypothesis):
            if reference == NO_WORD:
                inserted_R1[place] += 1
            else:
                wrong_R[place] += reference != hypothesis
                place += 1
    return Marks(wrong_R, inserted_R1)


def matched_pairs(system: MarkedSystem, rival: MarkedSystem) -> MatchedPairs:
    """The test over all utterances. p is 1 with fewer than two segments, or without variance."""
    pairs = zip(system.utterances, rival.utterances, strict=True)
    counted = [segment for one, other in pairs for segment in segments(one, other)]
    differences = [a / system.num_seeds - b / rival.num_seeds for a, b in counted]
    return _test(differences)


def segments(system: Marks, rival: Marks) -> Iterator[tuple[int, int]]:
    """(errors of the system, errors of the rival) in each segment with an error."""
    wrong = np.stack([system.wrong_R, rival.wrong_R], axis=1).tolist()
    inserted = np.stack([system.inserted_R1, rival.inserted_R1], axis=1).tolist()
    errors, num_good = [0, 0], 0
    for place, more in enumerate(inserted):
        if any(more):
            errors, num_good = [errors[0] + more[0], errors[1] + more[1]], 0
        if place == len(wrong):
            break
        if any(wrong[place]):
            errors, num_good = [errors[0] + wrong[place][0], errors[1] + wrong[place][1]], 0
            continue
        num_good += 1
        if num_good == GOOD_WORDS and any(errors):
            yield errors[0], errors[1]
            errors = [0, 0]
    if any(errors):
        yield errors[0], errors[1]


def _test(differences: Sequence[float]) -> MatchedPairs:
    num = len(differences)
    mean = math.fsum(differences) / num if num else 0.0
    squares = math.fsum((value - mean) ** 2 for value in differences)
    # As in NIST's program, z is 0 without variance.
    z = mean / math.sqrt(squares / (num - 1) / num) if num > 1 and squares > 0 else 0.0
    return MatchedPairs(num_segments=num, mean=mean, z=z, p=math.erfc(abs(z) / math.sqrt(2)))
