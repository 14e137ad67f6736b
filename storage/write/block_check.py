"""Block check: blocks of soft labels are checked once, before they are encoded. None is clamped.

Shapes: T frames of a block, K kept ranks, G tiers, H temperatures.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.format.layout import StoreAbout
from storage.write.top_k import KeptBlock

# Of a frame. Labels decoded from another store are up to 0.015 away from 1; logarithms to base 2 or
# 10 are further away in nearly all frames.
MAX_MASS_ERROR = 0.02
NO_DISTRIBUTION = (
    "the probabilities of all classes sum to {mass:.4g}, wanted 1: are they natural logarithms of "
    "probabilities?"
)


def checked(
    about: StoreAbout, blocks: Iterable[KeptBlock], *, num_frames: int, where: str
) -> Iterator[KeptBlock]:
    """The blocks again, one at a time.

    Raises:
        StoreError: when one does not fit the store, or together they do not have `num_frames`.
    """
    start = 0
    for block in blocks:
        _refuse_bad_shapes(about, block, where=where)
        _refuse_bad_values(about, block, start=start, where=where)
        start += len(block.ids_TK)
        yield block
    if start != num_frames:
        raise StoreError(
            f"{where}: the blocks have shape ({start}, {about.kept}) together, "
            f"wanted ({num_frames}, {about.kept})"
        )


def _refuse_bad_shapes(about: StoreAbout, block: KeptBlock, *, where: str) -> None:
    num_frames = len(block.ids_TK)
    shapes = {
        "ids": (block.ids_TK.shape, (num_frames, about.kept)),
        "logp": (block.logp_TK.shape, (num_frames, about.kept)),
        "tail": (block.tail_TG.shape, (num_frames, len(about.tiers))),
        "log_norm": (block.log_norm_TH.shape, (num_frames, len(about.temperatures))),
    }
    for name, (found, wanted) in shapes.items():
        if found != wanted:
            raise StoreError(f"{where}: {name} has shape {found}, wanted {wanted}")


def _refuse_bad_values(about: StoreAbout, block: KeptBlock, *, start: int, where: str) -> None:
    ids_TK = np.sort(block.ids_TK, axis=1)
    mass_T = _mass(block)
    checks = {
        "a class id is out of range": (block.ids_TK < 0) | (block.ids_TK >= about.num_classes),
        "a class comes twice": ids_TK[:, 1:] == ids_TK[:, :-1],
        "a log-probability is NaN": np.isnan(block.logp_TK),
        "the ranks do not descend": block.logp_TK[:, 1:] > block.logp_TK[:, :-1],
        NO_DISTRIBUTION: ~(np.abs(mass_T - 1) <= MAX_MASS_ERROR)[:, np.newaxis],
        "a tail is not in 0..1": ~((block.tail_TG >= 0) & (block.tail_TG <= 1.001)),
        "a log norm is not finite": ~np.isfinite(block.log_norm_TH),
    }
    for text, wrong_TX in checks.items():
        if wrong_TX.any():
            row = int(np.argmax(wrong_TX.any(axis=1)))
            raise StoreError(f"{where}, frame {start + row}: {text.format(mass=mass_T[row])}")


def _mass(block: KeptBlock) -> NDArray[np.float32]:
    """The probability of all classes (T,): of those kept, and the last tail."""
    with np.errstate(over="ignore"):
        kept_T = np.exp(block.logp_TK).sum(axis=1)
    return np.asarray(kept_T + block.tail_TG[:, -1])
