"""Labelled share: which speakers of a transcribed corpus keep their hard labels.

This measures on the user's own corpus what untranscribed speech gives: the other speakers of train
are treated as untranscribed, and students learn from their soft labels only.
"""

import hashlib
from collections.abc import Iterator, Set
from dataclasses import replace

from stages.corpus.raw import RawUtterance


def choose_labelled(speakers: Set[str], share: float) -> frozenset[str]:
    """Choose a share of the speakers, rounded, at least one: those with the smallest id digests.

    The choice does not depend on their order or on other splits, and a larger share contains all
    speakers of a smaller one.
    """
    ordered = sorted(speakers, key=lambda name: hashlib.sha256(name.encode()).digest())
    return frozenset(ordered[: max(1, round(share * len(ordered)))])


def with_labels_of(labelled: Set[str], raws: Iterator[RawUtterance]) -> Iterator[RawUtterance]:
    """The same utterances, without hard labels for speakers that are not in `labelled`."""
    for raw in raws:
        yield raw if raw.speaker in labelled else replace(raw, labels_T=None, tokens_L=None)
