"""Recorded: what a store contains about the origin of another program's posteriors.

The digest of an utterance is that of its input, or of its id where no input was given.
"""

import hashlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.files.fingerprint import array_digest

HALF_BYTES_BELOW = 4
ARGUMENTS_NAME = "recorded.json"  # in the _stage/ of a store that is being recorded
NOT_RECORDED = "not recorded"  # in place of the digest of the classes' names
Input = bytes | NDArray[Any] | Any  # a tensor, too: torch need not be installed


def digest_of_input(value: Input) -> str:
    """SHA-256 of bytes, or of an array's or tensor's dtype, shape and values."""
    if isinstance(value, bytes | bytearray | memoryview):
        return hashlib.sha256(value).hexdigest()
    return array_digest(as_array(value))


def digest_of_id(id: str) -> str:
    """The digest of an utterance whose input was not recorded."""
    return hashlib.sha256(b"id\0" + id.encode()).hexdigest()


def as_array(values: Any) -> NDArray[Any]:
    """An array of numbers from an array, or from a tensor of torch on any device."""
    torch = sys.modules.get("torch")  # never imported here: who has a tensor has imported it
    if torch is None or not isinstance(values, torch.Tensor):
        return np.asarray(values)
    on_cpu = values.detach().cpu()
    # numpy has no bfloat16. Every value of a half type is one of float32.
    is_half = on_cpu.dtype.is_floating_point and on_cpu.dtype.itemsize < HALF_BYTES_BELOW
    return np.asarray((on_cpu.float() if is_half else on_cpu).numpy())
