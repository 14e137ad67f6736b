"""Codings of stores: format 1, those of new stores, and one with another codec for each array.

And the forms of stores that the suites of damage and hostile stores run on: with pruned ones.
"""

from typing import Any

from storage.format.codec import CODINGS, FORMAT_1, Codec, Coding
from storage.format.pruning import Pruning

MIXED = Coding(
    2,
    Codec("blosc", 2, "zstd", "noshuffle", 4096),
    (
        ("ids_0", Codec("blosc", 5, "lz4", "shuffle", 256)),
        ("val_0", Codec("blosc", 9, "zstd", "bitshuffle")),
        ("tail_0", Codec("zstd", 22)),
        ("ids_1", Codec("zstd", 3)),
        ("val_1", Codec("blosc", 1, "lz4", "bitshuffle", 1 << 16)),
        ("log_norm_2.0", Codec("zstd", 5)),
    ),
)
STORE_CODINGS = {"format 1": FORMAT_1, **CODINGS, "mixed": MIXED}
PRUNINGS = (None, Pruning(mass=0.9), Pruning(min_prob=0.01))
STORE_FORMS: dict[str, dict[str, Any]] = {
    "lz4": {},
    "format 1": {"coding": FORMAT_1},
    "pruned": {"pruning": Pruning(mass=0.9)},
}
