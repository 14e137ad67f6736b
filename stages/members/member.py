"""Member: whatever gives posteriors of a corpus: models trained here, or archived posteriors.

Shapes: T frames, C classes.
"""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from storage.corpus.corpus_file import CorpusFile


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
    def averaging_floor(self) -> float:
        """Log-posteriors below it are raised to it before they are averaged, nats; -inf: none."""

    @property
    def num_bytes(self) -> int:
        """What it takes in memory when it is loaded."""

    def loaded(self) -> "Member":
        """The same member, which keeps in memory what it needs to be asked again and again."""

    def log_posteriors(
        self, corpus: CorpusFile, indices: Iterable[int], *, batch_frames: int
    ) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Natural-log posteriors (T, C) of each utterance, float32, as (index, logp_TC)."""
