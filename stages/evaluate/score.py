"""reference, hypothesis -> word errors."""

from collections.abc import Sequence

import kaldialign

from stages.contract.results import UtteranceResult, WordErrors


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Insertions, deletions, substitutions of the best alignment, equal to NIST sclite's."""
    counts = kaldialign.edit_distance(reference.split(), hypothesis.split())
    return WordErrors(
        reference_words=len(reference.split()),
        insertions=int(counts["ins"]),
        deletions=int(counts["del"]),
        substitutions=int(counts["sub"]),
    )


def score_utterance(id: str, *, speaker: str, reference: str, hypothesis: str) -> UtteranceResult:
    """An utterance with its word errors."""
    return UtteranceResult(
        id=id,
        speaker=speaker,
        reference=reference,
        hypothesis=hypothesis,
        words=word_errors(reference, hypothesis),
    )


def add_up(parts: Sequence[WordErrors]) -> WordErrors:
    """The errors of several utterances together."""
    return WordErrors(
        reference_words=sum(part.reference_words for part in parts),
        insertions=sum(part.insertions for part in parts),
        deletions=sum(part.deletions for part in parts),
        substitutions=sum(part.substitutions for part in parts),
    )
