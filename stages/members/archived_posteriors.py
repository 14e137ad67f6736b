"""ArchivedPosteriors: a model that ran elsewhere, as a member: its posteriors in Kaldi archives.

A member's directory holds only member.json; the archives stay where they are. If their content
has changed since the member was made, they are refused.

Shapes: B pieces, T frames, C classes.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from stages.acoustic.kaldi.location import Location
from stages.contract.description import read_description
from stages.contract.errors import BadInput, MissingPart
from stages.contract.settings import LengthDifference, Settings
from stages.members.batches import Batch
from stages.members.ensemble_posteriors import LOG_FLOOR
from stages.members.posterior_archive import fit_frames, locate_posteriors, read_log_posteriors
from stages.members.posterior_files import PosteriorsAre, content_digest, posterior_file
from storage.corpus.utterance import Utterance
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
    """What was checked. `fingerprint`: SHA-256 over all log-posteriors, raised to LOG_FLOOR."""

    format: Literal["essence archived posteriors 1"] = "essence archived posteriors 1"
    path: Path
    posteriors_are: PosteriorsAre
    max_length_difference: LengthDifference = 0
    num_classes: int = Field(ge=1)
    class_inventory: str
    fingerprint: str
    splits: dict[str, SplitAbout]

    @property
    def title(self) -> str:
        """Where the posteriors come from."""
        return "archived posteriors"

    @property
    def feature_dim(self) -> None:
        """None: no features are read here, whatever the model read."""
        return


class ArchivedPosteriors:
    """A member that reads what its model wrote elsewhere. Batches say which utterances."""

    num_parameters = None  # unknown
    num_bytes = 0  # nothing of it is kept
    averaging_floor = float(LOG_FLOOR)  # zero probabilities are legal in archives

    def __init__(self, directory: Path) -> None:
        """Read member.json and compare the archives with it.

        Raises:
            MissingPart: if the archives are missing.
            BadInput: if member.json is no valid description, or the archives were changed.
        """
        self.directory = directory
        self.about = read_archive_about(directory)
        self._files = {split: self._unchanged(split) for split in self.about.splits}
        self._located: dict[str, dict[str, Location]] = {}
        self._last: tuple[str, NDArray[np.float32]] | None = None

    def load(self) -> "ArchivedPosteriors":
        """Itself: there is nothing to keep in memory."""
        return self

    def log_posteriors(self, batch: Batch) -> Tensor:
        """Natural-log posteriors (B, T, C) of the batch's utterances, zero in the padding.

        Raises:
            MissingPart: if the archives have no such split.
            BadInput: if the member was made for another corpus, or a matrix has another shape.
        """
        located = self._locations(batch)
        shape = (*batch.features_BTF.shape[:2], self.about.num_classes)
        logp_BTC = torch.zeros(shape)
        for row, piece in enumerate(batch.pieces):
            logp_TC = self._read(located, piece.utterance)[piece.first : piece.last]
            logp_BTC[row, : len(logp_TC)] = torch.from_numpy(logp_TC)
        return logp_BTC.to(batch.features_BTF.device)

    def _read(self, located: dict[str, Location], row: Utterance) -> NDArray[np.float32]:
        # The pieces of a long recording follow each other: its matrix is read once for all.
        if self._last is None or self._last[0] != row.id:
            self._last = None  # not two matrices in memory
            given_TC = read_log_posteriors(located[row.id], given_as=self.about.posteriors_are)
            allowed = self.about.max_length_difference
            logp_TC = fit_frames(given_TC, num_frames=row.num_frames, allowed=allowed)
            if logp_TC.shape != (wanted := (row.num_frames, self.about.num_classes)):
                raise BadInput(
                    f"{self.directory}, utterance {row.id!r}: posteriors of shape {logp_TC.shape}, "
                    f"wanted {wanted}: the archives were changed: run 'essence ensemble' again"
                )
            self._last = row.id, logp_TC
        return self._last[1]

    def _locations(self, batch: Batch) -> dict[str, Location]:
        split = batch.split
        if split not in self.about.splits:
            raise MissingPart(
                f"{self.directory}: there are no posteriors of {split} in {self.about.path}: "
                f"{NAMED.format(split=split)}, then run 'essence ensemble' again"
            )
        found, wanted = batch.corpus_fingerprint, self.about.splits[split].corpus_fingerprint
        if found != wanted:
            raise BadInput(
                f"{self.directory}: made for the corpus {wanted[:SHORT]}, found {split} of the "
                f"corpus {found[:SHORT]}: run 'essence ensemble' again"
            )
        if split not in self._located:
            self._located[split] = locate_posteriors(self._files[split])
        return self._located[split]

    def _unchanged(self, split: str) -> Path:
        path = posterior_file(self.about.path, split)
        if path is None:
            raise MissingPart(
                f"{self.directory}: the posteriors of {split} are no longer in {self.about.path}: "
                f"{NAMED.format(split=split)}. Restore them; or, if they were moved, remove "
                f"{self.directory}, set the member's `posteriors` to their new place and run "
                "'essence ensemble'"
            )
        found, wanted = content_digest(path), self.about.splits[split].content
        if found != wanted:
            raise BadInput(
                f"{path}: found content {found[:SHORT]}, {self.directory / ABOUT_FILE} names "
                f"{wanted[:SHORT]}: the archives were changed after the member was made: restore "
                "them, or run 'essence ensemble' to make a member of the new ones"
            )
        return path


def read_archive_about(directory: Path) -> ArchiveAbout:
    """The description in `directory`; the archives are not read.

    Raises:
        BadInput: if member.json is no valid description.
    """
    path = directory / ABOUT_FILE
    advice = f"remove {directory} and run 'essence ensemble'"
    return read_description(ArchiveAbout, path, advice=advice)
