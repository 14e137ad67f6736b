"""Labelled share: of a transcribed corpus, whose speech keeps its hard labels.

So anybody finds out what untranscribed speech is worth on their own corpus: the rest of train is
then as if nobody had aligned it, and comes to the student by soft labels alone.
"""

import hashlib
from collections.abc import Iterator, Set
from dataclasses import replace

from stages.corpus.raw import RawUtterance


def choose_labelled(speakers: Set[str], share: float) -> frozenset[str]:
    """This share of the speakers, rounded, one at least: those with the smallest SHA-256 of the id.

    So neither order nor other splits matter, and a larger share has all speakers of a smaller one.
    """
    ordered = sorted(speakers, key=lambda name: hashlib.sha256(name.encode()).digest())
    return frozenset(ordered[: max(1, round(share * len(ordered)))])


def with_labels_of(labelled: Set[str], raws: Iterator[RawUtterance]) -> Iterator[RawUtterance]:
    """The same utterances; those of other speakers lose their hard labels, and nothing else."""
    for raw in raws:
        yield raw if raw.speaker in labelled else replace(raw, labels_T=None)
