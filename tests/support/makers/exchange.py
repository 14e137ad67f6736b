"""Makers of other programs' posteriors: pairs of each frame, and sources of them in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from storage.exchange.frames import Advance, Frames, SourceUtterance, SparseFrames

Pairs = Sequence[Sequence[tuple[int, float]]]  # of each frame


@dataclass(frozen=True)
class MadeSource:
    """A source in memory."""

    frames: dict[str, Frames]
    name: str = "made"

    @property
    def num_bytes(self) -> int:
        """One for each utterance."""
        return len(self.frames)

    def utterances(self, advance: Advance) -> Iterator[SourceUtterance]:
        """As declared by Source."""
        for id, frames in self.frames.items():
            yield SourceUtterance(id=id, where=self.name, frames=frames)
            advance(1)


def sparse(pairs: Pairs) -> SparseFrames:
    """Pairs of each frame as arrays."""
    flat = [pair for frame in pairs for pair in frame]
    return SparseFrames(
        ids_P=np.array([id for id, _ in flat], np.int32),
        prob_P=np.array([prob for _, prob in flat], np.float32),
        count_T=np.array([len(frame) for frame in pairs], np.int64),
    )


def make_pairs(num_frames: int, num_classes: int, *, most: int, seed: int = 0) -> Pairs:
    """1 to `most` pairs of each frame, in any order, of a mass between 0.5 and 1."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(num_frames):
        count = int(rng.integers(1, most + 1))
        ids = rng.choice(num_classes, count, replace=False)
        probs = rng.dirichlet(np.full(count, 0.4)) * rng.uniform(0.5, 1)
        frames.append([(int(id), float(np.float32(p))) for id, p in zip(ids, probs, strict=True)])
    return frames
