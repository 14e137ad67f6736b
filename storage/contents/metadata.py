"""Store metadata: the attributes and the utterance table, read back from their Zarr objects.

Shapes: U utterances.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.contents.manifest import read_object, read_objects
from storage.errors import StoreCorrupt, shown
from storage.files.strict_json import parse_json
from storage.format.layout import StoreAbout, StoreUtterance, from_attributes
from storage.format.records import GROUP, Records
from storage.format.shard_object import check_crc, decompress
from storage.format.shard_plan import ShardPlan
from storage.place.place import Place

DIGEST_BYTES = 32
TABLE = {
    "id_bytes": "utterances/id_bytes/c/0",
    "id_offsets": "utterances/id_offsets/c/0",
    "shard": "utterances/shard/c/0",
    "offset": "utterances/offset/c/0",
    "length": "utterances/length/c/0",
    "digest": "utterances/digest/c/0/0",
}
NEEDED = {GROUP, *TABLE.values()}
MAX_COUNT = 1 << 28  # of utterances, of shards: no more is taken for true
MAX_BLOB_BYTES = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreMetadata:
    """All of a store but its frames."""

    about: StoreAbout
    utterances: tuple[StoreUtterance, ...]
    plan: ShardPlan


def read_metadata(place: Place) -> StoreMetadata:
    """Metadata of a store, sealed or not, compared with their own checksums only.

    Raises:
        StoreCorrupt: when an object is missing or odd.
    """
    return decode_metadata(lambda name: read_object(place, name), where=str(place))


def read_sealed_metadata(place: Place, records: Records) -> StoreMetadata:
    """Metadata of a sealed store: every object is compared with the manifest.

    Raises:
        StoreCorrupt: when an object is missing or differs.
    """
    return metadata_among(read_objects(place, metadata_in(records)), where=str(place))


def metadata_in(records: Records) -> Records:
    """The records of all metadata objects that a manifest lists."""
    return {n: record for n, record in records.items() if n.endswith(GROUP) or n in NEEDED}


def metadata_among(objects: Iterable[tuple[str, bytes]], *, where: str) -> StoreMetadata:
    """Metadata from the objects of `metadata_in`. Raises as `read_sealed_metadata`."""
    # Objects that are only compared are not kept: a manifest may list any number of them.
    kept = {name: content for name, content in objects if name in NEEDED}

    def fetch(name: str) -> bytes:
        if name not in kept:
            raise StoreCorrupt(f"{where}: the manifest does not list {name}")
        return kept[name]

    return decode_metadata(fetch, where=where)


def decode_metadata(fetch: Callable[[str], bytes], *, where: str) -> StoreMetadata:
    """Metadata from the bytes of their objects; `where` names the store in messages.

    Raises:
        StoreCorrupt: when an object is odd, or disagrees with another one.
        StoreError: when the store is of another format, or of a newer version.
    """
    group = f"{where}/{GROUP}"
    try:
        attributes: Any = parse_json(fetch(GROUP))["attributes"]
        counts = [attributes.get(name) for name in ("num_utterances", "num_shards", "num_frames")]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as cause:
        raise StoreCorrupt(f"{group} is not the metadata of a store ({shown(cause)})") from cause
    about = from_attributes(attributes, where=group)
    if any(type(count) is not int or count < 0 for count in counts) or max(counts[:2]) > MAX_COUNT:
        raise StoreCorrupt(f"{group}: utterances, shards, frames are {counts}")
    utterances, plan = _decode_table(
        fetch, where=where, num_utterances=counts[0], num_shards=counts[1]
    )
    _refuse_bad_plan(group, about, utterances, plan)
    if sum(row.num_frames for row in utterances) != counts[2]:
        raise StoreCorrupt(f"{group}: num_frames is {counts[2]}, that of the utterances differs")
    return StoreMetadata(about=about, utterances=utterances, plan=plan)


def _decode_table(
    fetch: Callable[[str], bytes], *, where: str, num_utterances: int, num_shards: int
) -> tuple[tuple[StoreUtterance, ...], ShardPlan]:
    def column(name: str, dtype: str, *shape: int) -> NDArray[Any]:
        if 0 in shape:
            return np.empty(shape, dtype)
        key = TABLE[name]
        num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        body = check_crc(fetch(key), where=f"{where}/{key}")
        raw = decompress(body, "blosc", num_bytes=num_bytes, where=f"{where}/{key}")
        return raw.view(dtype).reshape(shape)

    offsets = column("id_offsets", "<u8", num_utterances + 1).astype(np.int64)
    if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] > MAX_BLOB_BYTES:
        raise StoreCorrupt(f"{where}: the offsets of the utterance ids do not ascend")
    blob = column("id_bytes", "u1", int(offsets[-1])).tobytes()
    lengths = column("length", "<u8", num_utterances)
    digests = column("digest", "u1", num_utterances, DIGEST_BYTES)
    try:
        ids = [blob[a:b].decode() for a, b in pairwise(offsets)]
    except UnicodeDecodeError as cause:
        raise StoreCorrupt(f"{where}: an utterance id is not UTF-8 ({cause})") from cause
    if len(set(ids)) != len(ids) or b"\0" in blob:
        raise StoreCorrupt(f"{where}: an utterance id comes twice, or holds NUL")
    utterances = tuple(
        StoreUtterance(id=id, num_frames=int(length), digest=digest.tobytes().hex())
        for id, length, digest in zip(ids, lengths, digests, strict=True)
    )
    plan = ShardPlan(
        num_shards=num_shards,
        shard_U=column("shard", "<u4", num_utterances),
        offset_U=column("offset", "<u8", num_utterances),
    )
    return utterances, plan


def _refuse_bad_plan(
    where: str, about: StoreAbout, utterances: tuple[StoreUtterance, ...], plan: ShardPlan
) -> None:
    """Utterances lie back to back from the start of their shard, in order."""
    before, end = 0, 0
    for row, shard, offset in zip(
        utterances, plan.shard_U.tolist(), plan.offset_U.tolist(), strict=True
    ):
        start = end if shard == before else 0
        end = start + row.num_frames
        in_order = before <= shard < plan.num_shards
        before = shard
        if not in_order or offset != start or end > about.shard_frames:
            raise StoreCorrupt(f"{where}: utterance {shown(row.id)} does not follow the one before")
    if plan.num_shards != before + 1:
        raise StoreCorrupt(f"{where}: {plan.num_shards} shards, the last one used is {before}")
