"""ArchivedPosteriors: somebody else's model, of which its posteriors are known, in Kaldi archives.

A member's directory holds member.json alone; the archives stay where they are. They are known by
their content: what was changed since the member was adopted is refused.

Shapes: T frames, C classes.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.acoustic.kaldi.objects import Location
from stages.contract.description import read_description
from stages.contract.errors import BadInput, MissingPart
from stages.contract.settings import LengthDifference, Settings
from stages.members.ensemble_posteriors import LOG_FLOOR
from stages.members.posterior_archive import (
    PosteriorsAre,
    content_digest,
    fit_frames,
    locate_posteriors,
    posterior_file,
    read_log_posteriors,
)
from storage.corpus.corpus_file import CorpusFile
from storage.files.fingerprint import SHORT

ABOUT_FILE = "member.json"
NAMED = "wanted {split}.scp or {split}.ark there"


class SplitAbout(Settings):
    """One split's posteriors. `content` is the cheap identity of its archives."""

    content: str
    corpus_fingerprint: str
    num_utterances: int
    num_frames: int
    fitted: tuple[str, ...] = ()  # utterances whose posteriors were a frame longer or shorter


class ArchiveAbout(Settings):
    """What was adopted. `fingerprint`: SHA-256 over all log-posteriors, raised to LOG_FLOOR."""

    format: Literal["essence archived posteriors 1"] = "essence archived posteriors 1"
    path: Path
    posteriors_are: PosteriorsAre
    max_length_difference: LengthDifference = 0
    num_classes: int = Field(ge=1)
    class_inventory: str
    fingerprint: str
    splits: dict[str, SplitAbout]

    @property
    def kind(self) -> str:
        """What people call such a member."""
        return "archived posteriors"

    @property
    def feature_dim(self) -> None:
        """Unknown: its features are nobody's business here."""
        return


class ArchivedPosteriors:
    """A member that reads what its model gave elsewhere."""

    num_parameters = None  # unknown
    num_bytes = 0  # nothing of it is kept
    averaging_floor = float(LOG_FLOOR)  # zero probabilities are legal in archives

    def __init__(self, directory: Path) -> None:
        """Read member.json and compare the archives with it.

        Raises:
            MissingPart: where the archives are not there any more.
            BadInput: where member.json is not ours, or the archives were changed.
        """
        self.directory = directory
        self.about = read_archive_about(directory)
        self._files = {split: self._unchanged(split) for split in self.about.splits}
        self._located: dict[str, dict[str, Location]] = {}

    def loaded(self) -> "ArchivedPosteriors":
        """Itself: there is nothing to keep."""
        return self

    def log_posteriors(
        self, corpus: CorpusFile, indices: Iterable[int], *, batch_frames: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Natural-log posteriors of each utterance; `batch_frames` does not matter here.

        Raises:
            MissingPart: where the archives have no such split.
            BadInput: where the corpus is not the one that the member was adopted for.
        """
        located = self._locations(corpus)
        for index in indices:
            row = corpus.utterances[index]
            if row.num_frames == 0:  # an empty matrix of Kaldi has no columns either
                yield index, np.zeros((0, self.about.num_classes), np.float32)
                continue
            logp_TC = read_log_posteriors(located[row.id], given_as=self.about.posteriors_are)
            allowed = self.about.max_length_difference
            yield index, fit_frames(logp_TC, num_frames=row.num_frames, allowed=allowed)

    def _locations(self, corpus: CorpusFile) -> dict[str, Location]:
        split = corpus.about.split
        if split not in self.about.splits:
            raise MissingPart(
                f"{self.directory}: there are no posteriors of {split} in {self.about.path}: "
                f"{NAMED.format(split=split)}, then run 'essence ensemble' again"
            )
        found, wanted = corpus.fingerprint, self.about.splits[split].corpus_fingerprint
        if found != wanted:
            raise BadInput(
                f"{self.directory}: adopted for the corpus {wanted[:SHORT]}, {corpus.path} is "
                f"{found[:SHORT]}: run 'essence ensemble' again"
            )
        if split not in self._located:
            self._located[split] = locate_posteriors(self._files[split])
        return self._located[split]

    def _unchanged(self, split: str) -> Path:
        path = posterior_file(self.about.path, split)
        if path is None:
            raise MissingPart(
                f"{self.directory}: the posteriors of {split} are not in {self.about.path} any "
                f"more: {NAMED.format(split=split)}. Bring them back; or, where they were moved, "
                f"remove {self.directory}, set the member's `posteriors` to their new place and "
                "run 'essence ensemble'"
            )
        found, wanted = content_digest(path), self.about.splits[split].content
        if found != wanted:
            raise BadInput(
                f"{path}: found content {found[:SHORT]}, {self.directory / ABOUT_FILE} names "
                f"{wanted[:SHORT]}: the archives were changed since they were adopted: bring the "
                "old ones back, or run 'essence ensemble' to adopt the new ones"
            )
        return path


def read_archive_about(directory: Path) -> ArchiveAbout:
    """What was adopted into `directory`; the archives are not touched.

    Raises:
        BadInput: where member.json is not a description of ours.
    """
    path = directory / ABOUT_FILE
    advice = f"remove {directory} and run 'essence ensemble'"
    return read_description(ArchiveAbout, path, advice=advice)
