"""Codings of stores: format 1, those of new stores, and one with another codec for each array."""

from storage.format.codec import CODINGS, FORMAT_1, Codec, Coding

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
