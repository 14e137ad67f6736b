"""words said, words heard -> errors, and the interval of their rate."""

from collections.abc import Sequence

import kaldialign
import numpy as np

from stages.contract.results import UtteranceResult, WordErrors

INTERVAL = (2.5, 97.5)  # percentiles: 95 %


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Insertions, deletions, substitutions of the best alignment, equal to NIST sclite's."""
    counts = kaldialign.edit_distance(reference.split(), hypothesis.split())
    return WordErrors(
        reference_words=len(reference.split()),
        insertions=int(counts["ins"]),
        deletions=int(counts["del"]),
        substitutions=int(counts["sub"]),
    )


def add_up(parts: Sequence[WordErrors]) -> WordErrors:
    """The errors of several utterances together."""
    return WordErrors(
        reference_words=sum(part.reference_words for part in parts),
        insertions=sum(part.insertions for part in parts),
        deletions=sum(part.deletions for part in parts),
        substitutions=sum(part.substitutions for part in parts),
    )


def rate_interval(
    utterances: Sequence[UtteranceResult], *, samples: int, rng: np.random.Generator
) -> tuple[float, float]:
    """95 % interval of the word error rate: bootstrap over speakers (Bisani and Ney 2004).

    The utterances of one speaker are not independent, so speakers are drawn; where there is only
    one, utterances are.
    """
    by_speaker = len({utterance.speaker for utterance in utterances}) > 1
    keys = [item.speaker if by_speaker else item.id for item in utterances]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    group = [numbers[key] for key in keys]
    errors = np.bincount(group, weights=[item.words.errors for item in utterances])
    words = np.bincount(group, weights=[item.words.reference_words for item in utterances])
    drawn = rng.integers(len(numbers), size=(samples, len(numbers)))
    rates = errors[drawn].sum(axis=1) / np.maximum(words[drawn].sum(axis=1), 1)
    low, high = np.percentile(rates, INTERVAL)
    return float(low), float(high)
