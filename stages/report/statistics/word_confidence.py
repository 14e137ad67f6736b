"""Confidence: how well the confidences of recognised words predict which of them are right.

Normalised cross entropy as NIST defines it (SCTK; Siu and Gish 1999). Of N recognised words n are
right, p = n / N:

    NCE = (H + sum over right words of log2 c + sum over wrong words of log2 (1 - c)) / H
    H = -n log2 p - (N - n) log2 (1 - p)

1 is perfect, 0 as good as giving each word the confidence p, below 0 worse.
"""

import math
from collections.abc import Sequence

import numpy as np

from stages.contract.results import SplitResult, UtteranceResult
from stages.report.statistics.word_alignment import NO_WORD, align_words

SMALLEST = 1e-6  # of a confidence, and of 1 minus it: the logarithm must be finite
NUM_BINS = 15

Judged = tuple[float, bool]  # confidence of a recognised word, and whether it is right


def judged_words(split: SplitResult) -> list[Judged] | None:
    """All recognised words of the utterances with confidences; None if no utterance has any."""
    known = [utterance for utterance in split.utterances if utterance.confidences is not None]
    if not known:
        return None
    return [
        pair
        for utterance in known
        for pair in zip(utterance.confidences or (), _right_words(utterance), strict=True)
    ]


def _right_words(utterance: UtteranceResult) -> list[bool]:
    pairs = align_words(utterance.reference, utterance.hypothesis)
    return [reference == hypothesis for reference, hypothesis in pairs if hypothesis != NO_WORD]


def normalised_cross_entropy(judged: Sequence[Judged]) -> float | None:
    """NCE; None if all words are right, or none is: then there is nothing to predict."""
    num, num_right = len(judged), sum(is_right for _, is_right in judged)
    if num_right in (0, num):
        return None
    share = num_right / num
    entropy = -num_right * math.log2(share) - (num - num_right) * math.log2(1 - share)
    gained = 0.0
    for confidence, is_right in judged:
        known = min(max(confidence, SMALLEST), 1 - SMALLEST)
        gained += math.log2(known if is_right else 1 - known)
    return (entropy + gained) / entropy


def calibration_error(judged: Sequence[Judged]) -> float | None:
    """Mean distance of confidence and share of right words, in bins; None without words."""
    if not judged:
        return None
    confidence, is_right = (np.array(column, np.float64) for column in zip(*judged, strict=True))
    bins = np.clip(np.ceil(confidence * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    distances = np.bincount(bins, weights=is_right - confidence, minlength=NUM_BINS)
    return float(np.abs(distances).sum() / len(judged))
