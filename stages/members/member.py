"""Member: what gives posteriors of a corpus, whichever kind it is (kinds.py).

A member that is open is only described: it takes little memory. Loaded, it turns batches that the
caller has planned and read into log-posteriors.

Shapes: B pieces, T frames of the longest, C classes.
"""

from typing import Protocol

from torch import Tensor

from stages.members.batches import Batch


class MemberAbout(Protocol):
    """What is known of a member before it is loaded."""

    @property
    def title(self) -> str:
        """A few words for messages: an architecture, or where the posteriors come from."""

    @property
    def fingerprint(self) -> str:
        """Identity of its output: two members of one fingerprint are the same."""

    @property
    def num_classes(self) -> int:
        """C."""

    @property
    def class_inventory(self) -> str:
        """Identity of the classes 0, 1, 2, ..."""

    @property
    def feature_dim(self) -> int | None:
        """F of the features that it reads; None if it reads none."""


class LoadedMember(Protocol):
    """A member in memory."""

    def log_posteriors(self, batch: Batch) -> Tensor:
        """Natural-log posteriors (B, T, C), float32, on the device of the batch.

        What is past the end of a piece has no meaning. The same batch gives the same bits on the
        same device and number of threads. The output is not checked here: see run.py.
        """


class Member(Protocol):
    """An open member."""

    @property
    def about(self) -> MemberAbout:
        """What it is."""

    @property
    def num_parameters(self) -> int | None:
        """None if it is unknown."""

    @property
    def num_bytes(self) -> int:
        """Memory that it takes when it is loaded."""

    @property
    def averaging_floor(self) -> float:
        """Nats to which its log-posteriors are raised before an average; -inf where none can be.

        A member of softmax outputs needs no floor. Archives may hold zero probabilities.
        """

    def load(self) -> LoadedMember:
        """Read the weights, or whatever it needs, into memory.

        Raises:
            MissingPart, BadInput: if a file is missing or is not what its description names.
        """
