"""Originals: copies of utterances that read the soft labels of what they were made from.

Where time is not warped, frame t of a copy is frame t of its original, so that a store needs to
hold the original only (teacher.input: original).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from stages.contract.copies import CopyGroup, originals_in_time
from stages.contract.errors import BadInput
from storage.care.match import CorpusMatch
from storage.corpus.corpus_file import CorpusFile


@dataclass(frozen=True, slots=True)
class CopyMatch:
    """A match of store and corpus, and `read_as`: id of a copy -> id whose soft labels it reads."""

    match: CorpusMatch
    read_as: dict[str, str]

    @property
    def without_soft_labels(self) -> frozenset[str]:
        """Utterances of the corpus that have no soft labels, not those of an original either."""
        return self.match.without_soft_labels - self.read_as.keys()

    def __str__(self) -> str:
        """uses 948 of 948 utterances of ...; 948 copies read the soft labels of their originals."""
        if not self.read_as:
            return str(self.match)
        rest = replace(self.match, without_soft_labels=self.without_soft_labels)
        return f"{rest}; {len(self.read_as)} copies read the soft labels of their originals"


def match_copies(match: CorpusMatch, groups: Iterable[CopyGroup], corpus: CorpusFile) -> CopyMatch:
    """Give copies that the store lacks the soft labels of their originals, where it has those.

    The match has compared the originals' features and hard labels with the store's.

    Raises:
        BadInput: where a copy is not as long as its original.
    """
    missing = match.without_soft_labels
    read_as = {
        id: original
        for id, original in originals_in_time(groups).items()
        if id in missing and original in corpus and original not in missing
    }
    for id, original in read_as.items():
        found, wanted = (
            corpus.utterances[corpus.index_of(each)].num_frames for each in (id, original)
        )
        if found != wanted:
            raise BadInput(
                f"{corpus.path}: the copy {id!r} has {found} frames, its original {original!r} "
                f"{wanted}: remove the corpus directory and run 'essence corpus' again"
            )
    return CopyMatch(match, read_as)
