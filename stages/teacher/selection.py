"""Selection: the K best classes of every frame, computed where the posteriors are.

Both implementations keep the same classes of the same values; their tails agree to 1e-5, a
thousandth of a step of their code.

Shapes: T frames, C classes.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from stages.teacher import torch_top_k
from storage.format.tiers import Tier
from storage.write import top_k
from storage.write.top_k import KeptBlock

Values = TypeVar("Values", contravariant=True)


class Selection(Protocol[Values]):
    """Keeps the k largest of every frame: best first, ties by the smaller id, exact tails."""

    def keep_top_k(
        self,
        logp_TC: Values,
        k: int,
        *,
        tiers: Sequence[Tier],
        temperatures: Sequence[float] = (),
    ) -> KeptBlock:
        """From float32 log-posteriors.

        Raises:
            StoreError: if k is larger than C, or a value is NaN.
        """

    def keep_top_k_of_probabilities(
        self, prob_TC: Values, k: int, *, tiers: Sequence[Tier]
    ) -> KeptBlock:
        """From float32 probabilities, which are used up; no logarithm of all is needed.

        Raises:
            StoreError: if k is larger than C, or a value is NaN.
        """


NUMPY: Selection[NDArray[np.float32]] = top_k
TORCH: Selection[Tensor] = torch_top_k
