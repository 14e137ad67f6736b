"""MAPSSWE: the matched-pairs sentence-segment word error test (Gillick and Cox 1989), as NIST's.

An utterance is cut into segments whose errors do not touch: between two of them lie at least
GOOD_WORDS words that all systems have right, with nothing inserted. In every segment with an error
the numbers of errors are subtracted; z is the mean difference over its standard error.

Seeds are pooled inside a segment, as the mean over them; then "all systems" are all seeds of both.
So segments stay independent, and the seeds are taken as they are: the test asks about other
speech, not about other trainings. With one seed each it is NIST's own `sc_stats -t mapsswe`.

Shapes: R reference words of an utterance; place R is behind the last.
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
    """A pooled system's marks, utterance by utterance."""

    num_seeds: int
    utterances: tuple[Marks, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPairs:
    """What the test found. `mean` is errors a segment, ours minus theirs."""

    num_segments: int
    mean: float
    z: float
    p: float  # two-sided


def mark_system(splits: Sequence[SplitResult]) -> MarkedSystem:
    """Align every seed's words once; they are compared with several rivals."""
    by_utterance = zip(*(split.utterances for split in splits), strict=True)
    return MarkedSystem(len(splits), tuple(_mark(same) for same in by_utterance))


def _mark(seeds: Sequence[UtteranceResult]) -> Marks:
    num_words = len(seeds[0].reference.split())
    wrong_R, inserted_R1 = np.zeros(num_words, np.int64), np.zeros(num_words + 1, np.int64)
    for item in seeds:
        place = 0
        for said, heard in align_words(item.reference, item.hypothesis):
            if said == NO_WORD:
                inserted_R1[place] += 1
            else:
                wrong_R[place] += said != heard
                place += 1
    return Marks(wrong_R, inserted_R1)


def matched_pairs(ours: MarkedSystem, theirs: MarkedSystem) -> MatchedPairs:
    """The test over all utterances. Without a difference anywhere, or in none but one, p is 1."""
    pairs = zip(ours.utterances, theirs.utterances, strict=True)
    counted = [segment for one, other in pairs for segment in segments(one, other)]
    differences = [a / ours.num_seeds - b / theirs.num_seeds for a, b in counted]
    return _test(differences)


def segments(ours: Marks, theirs: Marks) -> Iterator[tuple[int, int]]:
    """(our errors, their errors) of every segment with an error."""
    wrong = np.stack([ours.wrong_R, theirs.wrong_R], axis=1).tolist()
    inserted = np.stack([ours.inserted_R1, theirs.inserted_R1], axis=1).tolist()
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
    # NIST's program: without variance z is 0.
    z = mean / math.sqrt(squares / (num - 1) / num) if num > 1 and squares > 0 else 0.0
    return MatchedPairs(num_segments=num, mean=mean, z=z, p=math.erfc(abs(z) / math.sqrt(2)))
