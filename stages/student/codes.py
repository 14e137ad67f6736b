"""Codes: probabilities of one byte, as a store holds them -> log-probabilities, on any device.

Shapes: ... any.
"""

from functools import cache

import torch
from torch import Tensor

from storage.format.value_code import LOGP_OF_CODE


def decode(codes: Tensor) -> Tensor:
    """Log-probabilities of codes, float32, looked up on the device of the codes."""
    table = _logp_of_code(codes.device)
    return table.index_select(0, codes.int().flatten()).view(codes.shape)


@cache
def _logp_of_code(device: torch.device) -> Tensor:
    return torch.from_numpy(LOGP_OF_CODE).to(device)
