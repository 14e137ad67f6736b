"""Codec: how inner chunks are compressed, as the Zarr metadata of their array declare it.

    {"name": "blosc", "configuration": {"cname": "lz4", "clevel": 1, "shuffle": "bitshuffle", ...}}

Format 1 fixes the codec of each array. In format 2 an array may have any of those that
`codec_in` accepts, and a reader takes it from the array's zarr.json.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from storage.errors import StoreCorrupt, shown
from storage.files.strict_json import parse_json

CodecName = Literal["zstd", "blosc"]
SHUFFLES = {"noshuffle": 0, "shuffle": 1, "bitshuffle": 2}  # the numbers are those of blosc
COMPRESSORS = ("lz4", "zstd")  # inside blosc
MAX_ZSTD_LEVEL = 22
MAX_BLOSC_LEVEL = 9
MAX_BLOCK_BYTES = 1 << 24
NO_CHECKSUM = False  # zstd's own one; a crc32c follows the chunk


@dataclass(frozen=True, slots=True)
class Codec:
    """A compressor and its parameters. The last three are those of blosc.

    With `block_bytes` 0 blosc chooses the size of its blocks.
    """

    name: CodecName
    level: int
    compressor: str = ""
    shuffle: str = ""
    block_bytes: int = 0

    def __str__(self) -> str:
        """blosc lz4 1, bitshuffle, blocks of 8192 bytes."""
        if self.name == "zstd":
            return f"zstd {self.level}"
        blocks = f", blocks of {self.block_bytes} bytes" if self.block_bytes else ""
        return f"blosc {self.compressor} {self.level}, {self.shuffle}{blocks}"


@dataclass(frozen=True, slots=True)
class Coding:
    """The format version of a store, and its codecs: `usual`, except for the arrays in `others`."""

    format_version: int
    usual: Codec
    others: tuple[tuple[str, Codec], ...] = ()

    @classmethod
    def of(cls, format_version: int, codecs: Mapping[str, Codec]) -> "Coding":
        """That of arrays, by name; the codec of the last one is the usual one."""
        usual = list(codecs.values())[-1]
        others = tuple((name, codec) for name, codec in codecs.items() if codec != usual)
        return cls(format_version, usual, others)

    def codec_of(self, array: str) -> Codec:
        """The codec of the array with this name."""
        return next((codec for name, codec in self.others if name == array), self.usual)

    def __str__(self) -> str:
        """format 1, blosc zstd 1, bitshuffle; ids_0: zstd 1; val_0: zstd 1."""
        others = "".join(f"; {name}: {codec}" for name, codec in self.others)
        return f"format {self.format_version}, {self.usual}{others}"


ZSTD = Codec("zstd", 1)
BLOSC_ZSTD = Codec("blosc", 1, "zstd", "bitshuffle")
# Level 9 is 1 % smaller than level 1 and reads as fast. Blosc makes no blocks of lz4 below 64 KiB,
# which this asks for: without it, level 9 has blocks of 256 KiB.
BLOSC_LZ4 = Codec("blosc", 9, "lz4", "bitshuffle", 8192)
# The first rank repeats itself over many frames, which zstd without a shuffle stores in half of
# what lz4 needs.
FIRST_TIER = (("ids_0", ZSTD), ("val_0", ZSTD))
FORMAT_1 = Coding(1, BLOSC_ZSTD, FIRST_TIER)
CodecChoice = Literal["lz4", "zstd"]
CODINGS: dict[CodecChoice, Coding] = {
    "lz4": Coding(2, BLOSC_LZ4, FIRST_TIER),
    "zstd": Coding(2, BLOSC_ZSTD, FIRST_TIER),
}


def guess_coding(format_version: int, codecs: Mapping[str, Codec]) -> Coding:
    """The coding of a store of which the codecs of some arrays are known.

    The first of those that this program writes that agrees with them; otherwise that of the known
    arrays.
    """
    for coding in CODINGS.values():
        if all(coding.codec_of(name) == codec for name, codec in codecs.items()):
            return replace(coding, format_version=format_version)
    return Coding.of(format_version, codecs)


def codec_in(content: bytes, *, item_bytes: int, where: str) -> Codec:
    """The codec that an array's zarr.json declares, which is not trusted.

    Raises:
        StoreCorrupt: when it is no such file, or declares another codec than format 2 has.
    """
    try:
        (sharding,) = parse_json(content)["codecs"]
        first, declared, last = sharding["configuration"]["codecs"]
        names = (sharding["name"], first["name"], last["name"])
        codec = _codec(declared["name"], declared["configuration"], item_bytes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as cause:
        raise StoreCorrupt(f"{where} declares no codec of a store ({shown(cause)})") from cause
    if codec is None or names != ("sharding_indexed", "bytes", "crc32c"):
        raise StoreCorrupt(
            f"{where}: found codec {shown(declared)} in {shown(names)}, wanted zstd or blosc with "
            "lz4 or zstd, between bytes and crc32c, sharded: use the program that wrote it"
        )
    return codec


def _codec(name: Any, given: dict[str, Any], item_bytes: int) -> Codec | None:
    """The codec with this configuration; None if it is not one that stores have."""
    if name == "zstd":
        level = given["level"]
        listed = _is_int(level, 1, MAX_ZSTD_LEVEL) and given["checksum"] is NO_CHECKSUM
        return Codec("zstd", level) if listed else None
    level, compressor, shuffle = given["clevel"], given["cname"], given["shuffle"]
    block_bytes = given["blocksize"]
    listed = (
        name == "blosc"
        and compressor in COMPRESSORS
        and shuffle in SHUFFLES
        and _is_int(level, 1, MAX_BLOSC_LEVEL)
        and _is_int(block_bytes, 0, MAX_BLOCK_BYTES)
        and _is_int(given["typesize"], item_bytes, item_bytes)
    )
    return Codec("blosc", level, compressor, shuffle, block_bytes) if listed else None


def _is_int(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most
