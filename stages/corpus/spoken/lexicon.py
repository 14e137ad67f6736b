"""Lexicon: the pronunciations of each word by the training voices, without rare ones."""

from collections import Counter

from stages.corpus.spoken.segments import Segment
from stages.corpus.spoken.settings import SpokenSettings

Phones = tuple[str, ...]


def pronunciations_of(segments: tuple[Segment, ...], *, num_words: int) -> list[Phones]:
    """The phones of every word of a sentence, in order."""
    phones: list[list[str]] = [[] for _ in range(num_words)]
    for segment in segments:
        if segment.word >= 0:
            phones[segment.word].append(segment.name)
    return [tuple(word) for word in phones]


def keep_pronunciations(counts: Counter[Phones], settings: SpokenSettings) -> list[Phones]:
    """The most frequent pronunciations of a word, within the limits of `settings`, at least one."""
    least = settings.min_pronunciation_share * counts.total()
    ranked = sorted(counts, key=lambda phones: (-counts[phones], phones))
    kept = [phones for phones in ranked if counts[phones] >= least]
    return kept[: settings.max_pronunciations] or ranked[:1]
