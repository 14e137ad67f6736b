"""The soft-label store: names, types and what made it. No bytes are touched here.

    <store>.zarr/
      zarr.json                     group; the attributes are StoreAbout, plan sizes, format
      count                         the ranks of each frame, in a pruned store: zarr.json, c/<shard>
      ids_0 val_0 tail_0 ids_1 ...  one trio for each tier: zarr.json, c/<shard>/0 or c/<shard>
      log_norm_<T>                  one for each temperature in `temperatures`
      utterances/                   id_bytes id_offsets shard offset length digest
      commits/<shard>.json          which objects make a shard: written once, the first wins
      manifest-<sha256>.json        size and sha256 of every object above
      HEAD                          the manifest's sha256: a store without it is unfinished

Every object is a Zarr v3 array of N shards x S rows in inner chunks of F rows.
"""

from dataclasses import asdict, dataclass
from typing import Any

from storage.errors import StoreError, StoreMismatch, shown
from storage.files.fingerprint import SHORT
from storage.format.codec import CODINGS, Codec, Coding
from storage.format.origin import DIGEST, Origin
from storage.format.pruning import Pruning
from storage.format.temperatures import refuse_bad_temperatures
from storage.format.tiers import Tier, plan_tiers

FORMAT_NAME = "essence soft labels"
FORMAT_VERSIONS = (1, 2)  # that are read; docs/store-format.md, section 11
NEW_STORES = CODINGS["lz4"]
MAX_UINT16_CLASSES = 65534  # the maximum of the dtype is the fill
MAX_CHUNK_BYTES = 1 << 28  # of one inner chunk; a reader accepts no more
MAX_SHARD_CHUNKS = 1 << 20  # a shard's index is then 16 MiB
SHARD_DIGITS = 8
COMMITS = "commits"  # folder of the commit records
COUNT = "count"  # array of a pruned store
ITEM_BYTES = {"uint8": 1, "uint16": 2, "uint32": 4, "float32": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAbout:
    """What made a store. Never a time or a host name: the same inputs give the same bytes.

    `members` are the digests of the models' weights, in the order in which they were averaged.
    `left_out` are the utterances of the corpus whose posteriors were refused. `origin` are the
    stores that a store was merged from or cut out of; one that was labelled has none. A
    `frame_shift_ms` of 0 was not recorded. `coding` is how its values are compressed.
    With `pruning`, `kept` is the largest number of ranks of a frame.
    """

    split: str
    corpus_fingerprint: str
    class_inventory: str
    num_classes: int
    kept: int
    members: tuple[str, ...]
    weights: tuple[float, ...]
    combine: str
    temperature: float
    temperatures: tuple[float, ...]
    shard_frames: int
    chunk_frames: int
    frame_shift_ms: float
    subsampling: int
    left_out: tuple[str, ...]
    program_version: str
    origin: Origin | None = None
    coding: Coding = NEW_STORES
    pruning: Pruning | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.kept <= self.num_classes:
            raise StoreError(
                f"cannot keep {self.kept} of {self.num_classes} classes: "
                f"keep at most {self.num_classes} (teacher.kept)"
            )
        if self.chunk_frames < 1 or self.shard_frames < 1 or self.shard_frames % self.chunk_frames:
            raise StoreError(
                f"shards of {self.shard_frames} frames do not hold whole chunks of "
                f"{self.chunk_frames} frames: make one a multiple of the other"
            )
        if self.shard_frames // self.chunk_frames > MAX_SHARD_CHUNKS:
            raise StoreError(
                f"shards of {self.shard_frames} frames in chunks of {self.chunk_frames} have more "
                f"than {MAX_SHARD_CHUNKS} chunks: ask for smaller shards or larger chunks"
            )
        if self.chunk_frames * self.kept * 4 > MAX_CHUNK_BYTES:
            raise StoreError(f"chunks of {self.chunk_frames} frames are too large: lower them")
        refuse_bad_temperatures(self.temperature, self.temperatures)
        if not self.frame_shift_ms >= 0 or self.subsampling < 1:
            raise StoreError(
                f"frames of {self.frame_shift_ms} ms, subsampled by {self.subsampling}: "
                "wanted a positive shift, or 0 if it is not recorded, and at least 1"
            )

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """Groups of ranks."""
        return plan_tiers(self.kept)

    @property
    def ids_dtype(self) -> str:
        """dtype of the class ids."""
        return "uint16" if self.num_classes <= MAX_UINT16_CLASSES else "uint32"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUtterance:
    """One utterance of a store. `digest` is the corpus file's digest of its content."""

    id: str
    num_frames: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameArray:
    """One array with a row for each frame. `width` is None for one value a frame."""

    name: str
    dtype: str
    width: int | None
    fill: float
    codec: Codec

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return ITEM_BYTES[self.dtype]

    @property
    def row_bytes(self) -> int:
        """Bytes of one frame before compression."""
        return self.itemsize * (self.width or 1)

    def object_name(self, shard: int) -> str:
        """The name of a shard's object of this array."""
        return f"{self.name}/c/{shard}" + ("" if self.width is None else "/0")


def tier_arrays(about: StoreAbout, tier: int) -> tuple[FrameArray, FrameArray, FrameArray]:
    """The ids, code differences and tail codes of one tier."""
    width = about.tiers[tier].width
    return (
        _frame_array(about, f"ids_{tier}", about.ids_dtype, width, ids_fill(about)),
        _frame_array(about, f"val_{tier}", "uint8", width, 255),
        _frame_array(about, f"tail_{tier}", "uint8", None, 255),
    )


def ids_fill(about: StoreAbout) -> int:
    """The id that stands where there is no rank."""
    return (1 << 16) - 1 if about.ids_dtype == "uint16" else (1 << 32) - 1


def count_arrays(about: StoreAbout) -> tuple[FrameArray, ...]:
    """The array of the numbers of ranks, if the store is pruned."""
    if about.pruning is None:
        return ()
    return (_frame_array(about, COUNT, "uint8" if about.kept < 1 << 8 else "uint16", None, 0),)


def log_norm_array(about: StoreAbout, temperature: float) -> FrameArray:
    """The array of ln sum_j p_j^(1/temperature)."""
    return _frame_array(about, f"log_norm_{temperature!r}", "float32", None, float("nan"))


def frame_arrays(about: StoreAbout) -> tuple[FrameArray, ...]:
    """All arrays with a row for each frame."""
    tiers = [array for index in range(len(about.tiers)) for array in tier_arrays(about, index)]
    return (*count_arrays(about), *tiers, *(log_norm_array(about, t) for t in about.temperatures))


def _frame_array(
    about: StoreAbout, name: str, dtype: str, width: int | None, fill: float
) -> FrameArray:
    codec = about.coding.codec_of(name)
    return FrameArray(name=name, dtype=dtype, width=width, fill=fill, codec=codec)


def commit_name(shard: int) -> str:
    """The name of a shard's commit record."""
    return f"{COMMITS}/{shard:0{SHARD_DIGITS}d}.json"


def fields_of(about: StoreAbout) -> dict[str, Any]:
    """All fields, by name, to be compared; the coding in words."""
    return asdict(about) | {"coding": str(about.coding)}


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """One line for each field in which two records differ."""
    names = sorted(found.keys() | wanted.keys())
    return [
        f"{name}: found {_in_short(found.get(name))}, wanted {_in_short(wanted.get(name))}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def _in_short(value: Any) -> str:
    """The first digits of a digest, since two of them differ there; other values as they are."""
    is_digest = isinstance(value, str) and DIGEST.fullmatch(value) is not None
    return repr(value[:SHORT]) if is_digest else shown(value)


def refuse_difference(
    where: str,
    found: dict[str, Any],
    wanted: dict[str, Any],
    *,
    cure: str = "remove it, or name another, and run what makes it again ('essence teacher')",
) -> None:
    """Raise StoreMismatch with one line for each field that differs, and what to do."""
    lines = differences(found, wanted)
    if lines:
        raise StoreMismatch(f"{where} was made from something else: {'; '.join(lines)}: {cure}")
