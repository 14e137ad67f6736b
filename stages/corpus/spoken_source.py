"""SpokenSource: the built-in corpus and its copies, made once and kept on disk for later passes."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stages.acoustic.lang.lang import Lang
from stages.contract.copies import DEV_ORIGINALS
from stages.contract.progress import Progress
from stages.corpus.copies.kinds import AnyCopy
from stages.corpus.copies.make import with_copies
from stages.corpus.kept_splits import KeptSplits
from stages.corpus.kept_utterances import KeptUtterances
from stages.corpus.raw import RawUtterance
from stages.corpus.spoken.settings import SpokenSettings
from stages.corpus.spoken.speak import speak_corpus


class SpokenSource:
    """Three splits of synthesised speech. `scratch` is an empty directory for it."""

    def __init__(
        self,
        settings: SpokenSettings,
        *,
        copies: Sequence[AnyCopy] = (),
        scratch: Path,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._copies = copies
        self._scratch = scratch
        self._progress = progress
        self._corpus = speak_corpus(settings, progress=progress)
        self._splits = KeptSplits(self._speak, scratch=scratch)

    @property
    def lang(self) -> Lang:
        """Lexicon, units, language model."""
        return self._corpus.lang

    def has_labels(self, split: str) -> bool:
        """True: the synthesiser gives the start of every phone."""
        return True

    def labelled_speakers(self, split: str) -> set[str]:
        """All speakers of the split, which is synthesised if it has not been yet."""
        return self.kept(split).speakers

    def left_out(self, split: str) -> dict[str, list[str]]:
        """None."""
        return {}

    def trimmed(self, split: str) -> list[str]:
        """None: every frame has a label."""
        return []

    def remarks(self, split: str) -> list[str]:
        """None."""
        return []

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split: synthesised and kept at first, then read back."""
        return self._splits.utterances(split)

    def kept(self, split: str) -> KeptUtterances:
        """All utterances of a split, on disk."""
        return self._splits.whole(split)

    def _speak(self, split: str) -> Iterator[RawUtterance]:
        spoken = "dev" if split == DEV_ORIGINALS else split  # of which no copy is made
        return with_copies(
            self._corpus.splits[spoken],
            self._copies,
            split=split,
            num_mel_bins=self._settings.num_mel_bins,
            scratch=self._scratch,
            progress=self._progress,
        )
