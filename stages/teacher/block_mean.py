"""BlockMean: members added up over a block of frames, then the K best classes of their mean.

Shapes: T frames of the block, C classes.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stages.members.ensemble_posteriors import (
    Combine,
    add_member,
    finish_average,
    raise_to_floor,
    soften,
)
from stages.teacher.selection import NUMPY
from storage.format.layout import StoreAbout
from storage.write.top_k import KeptBlock

BLOCK_FRAMES = 2048  # softened and truncated at once


class BlockMean(Protocol):
    """A mean over T frames. Each member adds its pieces, in the order of fingerprints."""

    def add(
        self, pieces: Sequence[tuple[slice, Tensor]], *, weight: float, floor: float
    ) -> list[bool]:
        """Add log-posteriors (T of the piece, C) to rows of the block.

        Values below `floor` nats are raised to it. Returns of each piece whether it is a
        distribution beyond doubt; of others the gate decides.
        """

    def keep(self) -> Iterator[KeptBlock]:
        """What is kept of all frames, in order. Ends the use of the mean: it works in place."""

    def log_posteriors(self) -> NDArray[np.float32]:
        """The mean of all frames (T, C), on the host. Ends the use of the mean, as `keep` does."""


class NumpyMean:
    """The mean in the processor's memory. See BlockMean."""

    def __init__(self, about: StoreAbout, num_frames: int) -> None:
        self._about = about
        self._total_TC = np.zeros((num_frames, about.num_classes), np.float32)

    def add(
        self, pieces: Sequence[tuple[slice, Tensor]], *, weight: float, floor: float
    ) -> list[bool]:
        """See BlockMean."""
        combine = combine_of(self._about)
        return [
            add_member(
                self._total_TC[rows],
                raise_to_floor(logp_TC.cpu().numpy(), floor=floor),
                weight=weight,
                combine=combine,
            )
            for rows, logp_TC in pieces
        ]

    def keep(self) -> Iterator[KeptBlock]:
        """See BlockMean."""
        about, total_TC = self._about, self._total_TC
        if keeps_probabilities(about):
            yield NUMPY.keep_top_k_of_probabilities(total_TC, about.kept, tiers=about.tiers)
            return
        for start in range(0, len(total_TC), BLOCK_FRAMES):
            block_TC = total_TC[start : start + BLOCK_FRAMES]
            yield _keep(finish_average(block_TC, combine=combine_of(about)), about)

    def log_posteriors(self) -> NDArray[np.float32]:
        """See BlockMean."""
        return finish_average(self._total_TC, combine=combine_of(self._about))


def keep_changed(logp_TC: NDArray[np.float32], about: StoreAbout) -> Iterator[KeptBlock]:
    """What is kept of log-posteriors that were changed after averaging."""
    for start in range(0, len(logp_TC), BLOCK_FRAMES):
        yield _keep(logp_TC[start : start + BLOCK_FRAMES], about)


def _keep(logp_TC: NDArray[np.float32], about: StoreAbout) -> KeptBlock:
    return NUMPY.keep_top_k(
        soften(logp_TC, about.temperature),
        about.kept,
        tiers=about.tiers,
        temperatures=about.temperatures,
    )


def combine_of(about: StoreAbout) -> Combine:
    """The rule of a store, which is a plain string there: `geometric, given transcript`."""
    return "geometric" if about.combine.split(",")[0] == "geometric" else "arithmetic"


def keeps_probabilities(about: StoreAbout) -> bool:
    """Whether the mean's probabilities can be selected from as they are, without logarithms."""
    return combine_of(about) == "arithmetic" and about.temperature == 1 and not about.temperatures
