"""CTC (Graves et al. 2006): what stages share about paths of classes and token sequences.

A model gives a class for every frame, class 0 being the blank. Runs of one class are one token,
and blanks are left out: `a a - a b b` is `a a b`. So equal neighbours need a blank between them.

Shapes: T frames, C classes, L tokens.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLANK = 0


def collapse(classes_T: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """The tokens (L,) of a path: one for each run of a class, without blanks."""
    begins_T = np.ones(len(classes_T), np.bool_)
    begins_T[1:] = classes_T[1:] != classes_T[:-1]
    tokens_L: NDArray[np.int64] = classes_T[begins_T & (classes_T != BLANK)].astype(np.int64)
    return tokens_L


def frames_needed(tokens_L: NDArray[np.integer[Any]]) -> int:
    """Frames of the shortest path of a sequence: its tokens, and a blank in each repeat."""
    return len(tokens_L) + int((tokens_L[1:] == tokens_L[:-1]).sum())


def edit_distance(reference: Sequence[int], found: Sequence[int]) -> int:
    """Fewest insertions, deletions and substitutions between two sequences (Levenshtein)."""
    found_J = np.asarray(found, np.int64)
    steps_J1 = np.arange(len(found_J) + 1, dtype=np.int64)
    row_J1 = steps_J1.copy()
    for token in reference:
        next_J1 = row_J1 + 1  # deleted
        np.minimum(next_J1[1:], row_J1[:-1] + (found_J != token), out=next_J1[1:])
        row_J1 = np.minimum.accumulate(next_J1 - steps_J1) + steps_J1  # inserted
    return int(row_J1[-1])
