"""Source: where raw utterances come from, whoever made them."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Protocol

from stages.acoustic.lang.lang_folder import AnyLang
from stages.corpus.raw import RawUtterance

SPLITS = ("train", "dev", "test")


class Source(Protocol):
    """Three splits of utterances and their lang. Every call of `utterances` begins anew
    and shows its own progress."""

    @property
    def lang(self) -> AnyLang:
        """What decoding needs, and what the classes mean."""

    def has_labels(self, split: str) -> bool:
        """Whether the split has alignments."""

    def labelled_speakers(self, split: str) -> Set[str]:
        """Who has an utterance with an alignment in the split."""

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split, always in the same order."""

    def left_out(self, split: str) -> Mapping[str, Sequence[str]]:
        """Reason -> ids of the utterances that are not given."""

    def trimmed(self, split: str) -> Sequence[str]:
        """Ids of utterances of which a frame was cut, that features and labels be of one length;
        complete after `utterances` was read."""

    def remarks(self, split: str) -> Sequence[str]:
        """What a person should know about the split; complete after `utterances` was read."""
