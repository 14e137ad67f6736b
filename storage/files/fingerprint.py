"""Fingerprints: the same content gives the same 64 hex digits, on any machine, in any year."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from storage.files.regular_file import open_regular

SHORT = 12  # hex digits in the name of a directory: 48 bits
READ_BYTES = 1 << 20
SAMPLED_BLOCKS = 16
SAMPLED_BYTES = 1 << 16  # a block


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: one text for one value. NaN is refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`, 64 hex digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def array_digest(*arrays: NDArray[np.generic]) -> str:
    """SHA-256 over dtype, shape and little-endian bytes of the arrays, in order."""
    digest = hashlib.sha256()
    for array in arrays:
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        digest.update(f"{little.dtype.str}{little.shape}".encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks."""
    with open_regular(path) as file:
        return handle_digest(file.fileno())


def handle_digest(handle: int) -> str:
    """SHA-256 of all bytes of an open file; its position does not change."""
    digest, at = hashlib.sha256(), 0
    while block := os.pread(handle, READ_BYTES, at):
        digest.update(block)
        at += len(block)
    return digest.hexdigest()


def sampled_digest(path: Path) -> str:
    """SHA-256 of a file's size and of blocks spread evenly from its first to its last byte.

    Cheap on any size; an edit that keeps the size and misses every block is not seen.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(str(size).encode())
        last = max(0, size - SAMPLED_BYTES)
        for start in sorted({last * i // (SAMPLED_BLOCKS - 1) for i in range(SAMPLED_BLOCKS)}):
            file.seek(start)
            digest.update(file.read(SAMPLED_BYTES))
    return digest.hexdigest()


def inventory_digest(class_names: Iterable[str]) -> str:
    """Identity of a class inventory: what class 0, 1, 2 ... mean, in order."""
    return fingerprint(list(class_names))
