"""KeptSplits: the utterances of each split, made once, then read back from disk."""

from collections.abc import Callable, Iterator
from pathlib import Path

from stages.corpus.kept_utterances import KeptUtterances
from stages.corpus.raw import RawUtterance


class KeptSplits:
    """Keeps what `make` gives for a split. `scratch` is a folder for the files, SPLIT.raw."""

    def __init__(self, make: Callable[[str], Iterator[RawUtterance]], *, scratch: Path) -> None:
        self._make = make
        self._scratch = scratch
        self._kept: dict[str, KeptUtterances] = {}

    def utterances(self, split: str) -> Iterator[RawUtterance]:
        """The utterances of a split: made and kept at first, then read back."""
        if split in self._kept:
            yield from self._kept[split]
            return
        kept = KeptUtterances(self._scratch / f"{split}.raw")
        yield from kept.keep(self._make(split))
        self._kept[split] = kept

    def whole(self, split: str) -> KeptUtterances:
        """All utterances of a split, on disk."""
        if split not in self._kept:
            for _ in self.utterances(split):
                pass
        return self._kept[split]
