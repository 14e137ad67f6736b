"""Records: what every object of a store must be, and the files that list them.

A commit record lists the objects of one shard, the manifest lists all objects of the store. The
sha256 of the manifest is the store's identity, which HEAD holds.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any

from storage.errors import StoreCorrupt, StoreError, shown
from storage.files.fingerprint import canonical_json
from storage.files.strict_json import parse_json
from storage.format.attributes import is_known_format
from storage.format.layout import FORMAT_NAME

HEAD = "HEAD"
STAGE = "_stage"
GROUP = "zarr.json"
# No empty part, none that begins with a dot: nothing leads out of the store.
OBJECT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRecord:
    """Size and digest of an object, and the crc32c of a shard's inner chunks, None if absent.

    The crc32c show a reader of one chunk that the chunk is that of this shard of this store.
    """

    num_bytes: int
    sha256: str
    chunks: tuple[int | None, ...] = ()


Records = dict[str, ObjectRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a manifest or a commit record states: the format version of the store, its objects."""

    version: int
    records: Records


def record_of(content: bytes, chunks: tuple[int | None, ...] = ()) -> ObjectRecord:
    """The record of an object that is about to be written."""
    return ObjectRecord(
        num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), chunks=chunks
    )


def encode_records(records: Records, *, version: int, **facts: object) -> bytes:
    """Canonical JSON of records: a commit record (shard=...), or the manifest.

    `version` is the format version of the store.
    """
    objects = {
        name: {"bytes": record.num_bytes, "sha256": record.sha256}
        | ({"chunks": list(record.chunks)} if record.chunks else {})
        for name, record in records.items()
    }
    head = {"format": FORMAT_NAME, "format_version": version}
    return (canonical_json(head | facts | {"objects": objects}) + "\n").encode()


def decode_records(content: bytes, *, where: str) -> Records:
    """The objects of `decode_manifest`. Raises as it."""
    return decode_manifest(content, where=where).records


def decode_manifest(content: bytes, *, where: str) -> Manifest:
    """Read the bytes of `encode_records`, which are not trusted.

    Raises:
        StoreCorrupt: when the bytes are not such a file.
        StoreError: when it is of another format or a newer version.
    """
    try:
        value: Any = parse_json(content)
        found = (value["format"], value["format_version"])
        if not is_known_format(*found):
            raise StoreError(f"{where}: format {shown(found)} is not supported")
        records = {name: _record(name, fields) for name, fields in value["objects"].items()}
        return Manifest(version=found[1], records=records)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
        raise StoreCorrupt(f"{where} is not a list of objects ({shown(cause)})") from cause


def _record(name: str, fields: dict[str, Any]) -> ObjectRecord:
    num_bytes, sha256, chunks = fields["bytes"], fields["sha256"], fields.get("chunks", [])
    numbers = [num_bytes, *(chunk for chunk in chunks if chunk is not None)]
    if not OBJECT_NAME.fullmatch(name) or not DIGEST.fullmatch(sha256):
        raise ValueError(f"object {name!r}")
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"object {name!r}")
    return ObjectRecord(num_bytes=num_bytes, sha256=sha256, chunks=tuple(chunks))


def manifest_name(digest: str) -> str:
    """Where the manifest of a store with this identity lies below it."""
    return f"manifest-{digest}.json"
