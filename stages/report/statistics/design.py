"""Design: which runs of a system share a seed, and which share an ensemble.

Shapes: N runs.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Design:
    """The seed and the ensemble of each run; "" where there is one ensemble, or none."""

    seeds: tuple[str, ...]
    ensembles: tuple[str, ...]

    @classmethod
    def of_seeds(cls, num_runs: int) -> "Design":
        """Each run has a seed of its own."""
        return cls(tuple(map(str, range(num_runs))), ("",) * num_runs)

    @property
    def num_runs(self) -> int:
        """N."""
        return len(self.seeds)

    @property
    def num_seeds(self) -> int:
        """Seeds that differ."""
        return len(set(self.seeds))

    @property
    def num_ensembles(self) -> int:
        """Ensembles that differ."""
        return len(set(self.ensembles))

    @property
    def seed_N(self) -> NDArray[np.int64]:
        """The number of each run's seed, in the order of the runs."""
        order = list(dict.fromkeys(self.seeds))
        return np.array([order.index(name) for name in self.seeds], np.int64)

    @property
    def ensemble_N(self) -> NDArray[np.int64]:
        """The number of each run's ensemble, in the order of their names."""
        order = sorted(set(self.ensembles))
        return np.array([order.index(name) for name in self.ensembles], np.int64)

    @property
    def is_crossed(self) -> bool:
        """Whether every ensemble has each seed once: then seeds are drawn for all of them together.

        A seed decides initial weights and order of batches, so its runs are not independent.
        Otherwise seeds are drawn within each ensemble.
        """
        pairs = set(zip(self.ensembles, self.seeds, strict=True))
        return len(pairs) == self.num_runs == self.num_ensembles * self.num_seeds

    @property
    def key(self) -> int:
        """The same number for the same ensembles: they are drawn together."""
        return zlib.crc32(" ".join(sorted(set(self.ensembles))).encode())

    def is_paired_with(self, other: "Design") -> bool:
        """Whether the same seeds were trained, and can be drawn together."""
        same = set(self.seeds) == set(other.seeds)
        return same and self.is_crossed and other.is_crossed
