"""Which ranks a pruned store keeps, rank by rank, in float64."""

import numpy as np
from numpy.typing import NDArray

from storage.format.pruning import Pruning
from storage.format.value_code import encode_prob


def count_by_loop(prob_K: NDArray[np.float64], pruning: Pruning) -> int:
    """The rule as docs/store-format.md states it, for probabilities that descend."""
    count, mass = 1, prob_K[0]
    for prob in prob_K[1:]:
        if encode_prob(np.float32(prob)) == 255:
            break
        if pruning.mass is not None and mass >= pruning.mass:
            break
        if pruning.min_prob is not None and prob < pruning.min_prob:
            break
        count, mass = count + 1, mass + prob
    return count
