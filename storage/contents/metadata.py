"""Store metadata: the attributes and the utterance table, read back from their Zarr objects.

Shapes: U utterances.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.contents.manifest import read_object, read_objects
from storage.errors import StoreCorrupt, shown
from storage.files.strict_json import parse_json
from storage.format.attributes import from_attributes
from storage.format.codec import FORMAT_1, Coding, codec_in, guess_coding
from storage.format.layout import (
    FrameArray,
    StoreAbout,
    frame_arrays,
)
from storage.format.records import GROUP, Manifest, Records
from storage.format.shard_object import check_crc, decompress
from storage.format.shard_plan import ShardPlan
from storage.format.utterance_table import DIGEST_BYTES, UtteranceTable
from storage.place.place import Place

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
    utterances: UtteranceTable
    plan: ShardPlan


def read_metadata(place: Place, *, guess_codecs: bool = False) -> StoreMetadata:
    """Metadata of a store, sealed or not, compared with their own checksums only.

    With `guess_codecs` an array whose metadata are damaged has the codec that follows from those of
    the others in the stores that this program writes.

    Raises:
        StoreCorrupt: when an object is missing or odd.
    """

    def fetch(name: str) -> bytes:
        return read_object(place, name)

    return decode_metadata(fetch, where=str(place), guess_codecs=guess_codecs)


def read_sealed_metadata(place: Place, records: Records) -> StoreMetadata:
    """Metadata of a sealed store: every object is compared with the manifest.

    Raises:
        StoreCorrupt: when an object is missing or differs.
    """
    return metadata_among(read_objects(place, metadata_in(records)), where=str(place))


def refuse_other_version(metadata: StoreMetadata, manifest: Manifest, *, where: str) -> None:
    """Make sure that the attributes state the format version of the manifest.

    Raises:
        StoreCorrupt: when they are two versions: no writer leaves such a store.
    """
    version = metadata.about.coding.format_version
    if version != manifest.version:
        raise StoreCorrupt(
            f"{where}: {GROUP} states format version {version}, the manifest {manifest.version}: "
            "copy the store again, or make it again"
        )


def metadata_in(records: Records) -> Records:
    """The records of all metadata objects that a manifest lists, the group's own first."""
    found = {n: record for n, record in records.items() if n.endswith(GROUP) or n in NEEDED}
    first = {GROUP: found.pop(GROUP)} if GROUP in found else {}
    return first | found


def metadata_among(objects: Iterable[tuple[str, bytes]], *, where: str) -> StoreMetadata:
    """Metadata from the objects of `metadata_in`. Raises as `read_sealed_metadata`."""
    # Objects that are only compared are not kept: a manifest may list any number of them.
    kept, needed = dict[str, bytes](), NEEDED
    for name, content in objects:
        if name == GROUP:
            needed = NEEDED | set(_array_groups(_decode_about(content, where=where)[0]))
        if name in needed:
            kept[name] = content

    def fetch(name: str) -> bytes:
        if name not in kept:
            raise StoreCorrupt(f"{where}: the manifest does not list {name}")
        return kept[name]

    return decode_metadata(fetch, where=where)


def decode_metadata(
    fetch: Callable[[str], bytes], *, where: str, guess_codecs: bool = False
) -> StoreMetadata:
    """Metadata from the bytes of their objects; `where` names the store in messages.

    Raises:
        StoreCorrupt: when an object is odd, or disagrees with another one.
        StoreError: when the store is of another format, or of a newer version.
    """
    group = f"{where}/{GROUP}"
    about, counts = _decode_about(fetch(GROUP), where=where)
    if names := _array_groups(about):
        coding = _decode_coding(about, names, fetch, where=where, guess=guess_codecs)
        about = replace(about, coding=coding)
    utterances, plan = _decode_table(
        fetch, where=where, num_utterances=counts[0], num_shards=counts[1]
    )
    _refuse_bad_plan(group, about, utterances, plan)
    if int(utterances.length_U.sum()) != counts[2]:
        raise StoreCorrupt(f"{group}: num_frames is {counts[2]}, that of the utterances differs")
    return StoreMetadata(about=about, utterances=utterances, plan=plan)


def _decode_about(content: bytes, *, where: str) -> tuple[StoreAbout, list[int]]:
    """The attributes, and the numbers of utterances, shards and frames."""
    group = f"{where}/{GROUP}"
    try:
        attributes: Any = parse_json(content)["attributes"]
        counts = [attributes.get(name) for name in ("num_utterances", "num_shards", "num_frames")]
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as cause:
        raise StoreCorrupt(f"{group} is not the metadata of a store ({shown(cause)})") from cause
    about = from_attributes(attributes, where=group)
    if any(type(count) is not int or count < 0 for count in counts) or max(counts[:2]) > MAX_COUNT:
        raise StoreCorrupt(f"{group}: utterances, shards, frames are {counts}")
    return about, counts


def _array_groups(about: StoreAbout) -> dict[str, FrameArray]:
    """Where the codecs of the frame arrays are declared; nowhere in format 1, which fixes them."""
    if about.coding == FORMAT_1:
        return {}
    return {f"{array.name}/{GROUP}": array for array in frame_arrays(about)}


def _decode_coding(
    about: StoreAbout,
    arrays: dict[str, FrameArray],
    fetch: Callable[[str], bytes],
    *,
    where: str,
    guess: bool,
) -> Coding:
    """The codec of each array, from its own metadata."""
    codecs = {}
    for name, array in arrays.items():
        try:
            codec = codec_in(fetch(name), item_bytes=array.itemsize, where=f"{where}/{name}")
        except StoreCorrupt:
            if not guess:
                raise
            continue
        codecs[array.name] = codec
    if not codecs:
        raise StoreCorrupt(f"{where}: the metadata of no array can be read")
    version = about.coding.format_version
    return guess_coding(version, codecs) if guess else Coding.of(version, codecs)


def _decode_table(
    fetch: Callable[[str], bytes], *, where: str, num_utterances: int, num_shards: int
) -> tuple[UtteranceTable, ShardPlan]:
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
    _refuse_bad_text(blob, offsets, where=where)
    utterances = UtteranceTable(
        ids=blob,
        starts_V=offsets,
        length_U=column("length", "<u8", num_utterances),
        digest_UB=column("digest", "u1", num_utterances, DIGEST_BYTES),
    )
    if b"\0" in blob or utterances.an_id_twice() is not None:
        raise StoreCorrupt(f"{where}: an utterance id comes twice, or holds NUL")
    plan = ShardPlan(
        num_shards=num_shards,
        shard_U=column("shard", "<u4", num_utterances),
        offset_U=column("offset", "<u8", num_utterances),
    )
    return utterances, plan


def _refuse_bad_text(blob: bytes, offsets: NDArray[np.int64], *, where: str) -> None:
    """Every id is UTF-8: all of them together are, and none begins within a character."""
    try:
        blob.decode()
    except UnicodeDecodeError as cause:
        raise StoreCorrupt(f"{where}: an utterance id is not UTF-8 ({cause})") from cause
    firsts = np.frombuffer(blob, np.uint8)[offsets[offsets < len(blob)]]
    if ((firsts & 0xC0) == 0x80).any():
        raise StoreCorrupt(f"{where}: an utterance id is not UTF-8 (it begins within a character)")


def _refuse_bad_plan(
    where: str, about: StoreAbout, utterances: UtteranceTable, plan: ShardPlan
) -> None:
    """Utterances lie back to back from the start of their shard, in order."""
    shard_U, offset_U, length_U = plan.shard_U.astype(np.int64), plan.offset_U, utterances.length_U
    most = about.shard_frames
    before_U = np.concatenate([[0], shard_U[:-1]])[: len(shard_U)]
    fits_U = (length_U <= most) & (offset_U <= most)
    # Where one does not fit, the sum may wrap; it is refused already.
    end_U = offset_U + length_U
    last_end_U = np.concatenate([np.zeros(1, np.uint64), end_U[:-1]])[: len(shard_U)]
    start_U = np.where(shard_U == before_U, last_end_U, np.uint64(0))
    in_order_U = (before_U <= shard_U) & (shard_U < plan.num_shards)
    wrong_U = ~(fits_U & in_order_U & (offset_U == start_U) & (end_U <= most))
    if wrong_U.any():
        id = utterances[int(np.argmax(wrong_U))].id
        raise StoreCorrupt(f"{where}: utterance {shown(id)} does not follow the one before")
    last = int(shard_U[-1]) if len(shard_U) else 0
    if plan.num_shards != last + 1:
        raise StoreCorrupt(f"{where}: {plan.num_shards} shards, the last one used is {last}")
