"""Speech and Source: the protocols of everything that gives raw utterances."""

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Protocol

from stages.acoustic.lang.lang_folder import AnyLang
from stages.corpus.kept_utterances import KeptUtterances
from stages.corpus.raw import RawUtterance

SPLITS = ("train", "dev", "test")


class Speech(Protocol):
    """Three splits of utterances.

    Each call of `utterances` starts at the first utterance and shows its own progress.
    """

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split, always in the same order."""

    def left_out(self, split: str) -> Mapping[str, Sequence[str]]:
        """Reason -> ids of the utterances that are skipped."""

    def trimmed(self, split: str) -> Sequence[str]:
        """Ids of utterances that lost a frame so that features and labels have the same length;
        complete after `utterances` was read."""

    def remarks(self, split: str) -> Sequence[str]:
        """Warnings for the user about the split; complete after `utterances` was read."""


class KeptSpeech(Speech, Protocol):
    """Speech that takes many passes: its features are on disk after the first one."""

    def kept(self, split: str) -> KeptUtterances:
        """All utterances of a split; those that have not been read yet are read."""


class Source(Speech, Protocol):
    """Speech with hard labels and a lang, of which corpus files are made."""

    @property
    def lang(self) -> AnyLang:
        """Lexicon, language model and meaning of the classes."""

    def has_labels(self, split: str) -> bool:
        """Whether the split has alignments."""

    def labelled_speakers(self, split: str) -> Set[str]:
        """Speakers with an aligned utterance in the split."""
