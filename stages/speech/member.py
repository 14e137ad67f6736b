"""Member: whatever gives posteriors of a corpus: a model trained here, or archived posteriors.

Shapes: T frames, C classes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from stages.speech import architectures
from stages.speech.architectures import AcousticModel
from stages.speech.archived_posteriors import ArchivedPosteriors, is_archived
from stages.speech.model_file import WEIGHTS_FILE, ModelAbout, load_model, read_model_about
from stages.speech.posteriors import log_posteriors
from storage.corpus_file import CorpusFile


class MemberAbout(Protocol):
    """What is known of a member before it is asked."""

    @property
    def kind(self) -> str:
        """What people call it."""

    @property
    def fingerprint(self) -> str:
        """Identity of what it says: two members of one fingerprint are the same."""

    @property
    def num_classes(self) -> int:
        """C."""

    @property
    def class_inventory(self) -> str:
        """What class 0, 1, 2 ... mean."""

    @property
    def feature_dim(self) -> int | None:
        """Of the features that it hears; None where it needs none."""


class Member(Protocol):
    """Gives posteriors. It takes little memory while it is not asked, unless it is `loaded`."""

    @property
    def about(self) -> MemberAbout:
        """What it is."""

    @property
    def num_parameters(self) -> int | None:
        """None where it is unknown."""

    @property
    def num_bytes(self) -> int:
        """What it takes in memory when it is loaded."""

    def loaded(self) -> "Member":
        """The same member, which keeps in memory what it needs to be asked again and again."""

    def log_posteriors(
        self, corpus: CorpusFile, indices: Iterable[int], *, batch_frames: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Natural-log posteriors (T, C) of each utterance, float32, as (index, logp_TC)."""


@dataclass(frozen=True, slots=True)
class TrainedMember:
    """A model that was trained here: it is in memory as long as it is asked, or `model` is it."""

    directory: Path
    about: ModelAbout
    device: str
    model: AcousticModel | None = None

    @property
    def num_parameters(self) -> int:
        """How many weights it has; none is read for that."""
        about = self.about
        with torch.device("meta"):
            model = architectures.build_model(
                about.architecture, about.feature_dim, about.num_classes
            )
        return architectures.num_parameters(model)

    @property
    def num_bytes(self) -> int:
        """Of its weights."""
        path = self.directory / WEIGHTS_FILE
        return path.stat().st_size if path.is_file() else 0  # who loads it says that it is missing

    def loaded(self) -> "TrainedMember":
        """The member with its model in memory.

        Raises:
            MissingPart, BadInput: where its weights are not what they should be.
        """
        return replace(self, model=load_model(self.directory, self.device)[0])

    def log_posteriors(
        self, corpus: CorpusFile, indices: Iterable[int], *, batch_frames: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Where it is not loaded, the model lives as long as this iterator: the next
        member finds its memory free.

        Raises:
            MissingPart, BadInput: where its weights are not what they should be.
        """
        model = self.model or load_model(self.directory, self.device)[0]
        yield from log_posteriors(
            model, corpus, indices, batch_frames=batch_frames, device=self.device
        )


def open_member(directory: Path, *, device: str) -> Member:
    """The member in `directory`.

    Raises:
        MissingPart: when no member is there, or its archives are gone.
        BadInput: when its description is not ours, or its archives were changed.
    """
    if is_archived(directory):
        return ArchivedPosteriors(directory)
    return TrainedMember(directory, read_model_about(directory), device)
