"""Manifest: the size and sha256 of every object of a store. Its own sha256 is the store's identity.

HEAD names the manifest; who reads a store starts there.
"""

import hashlib
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from storage.errors import StoreCorrupt, StoreError, StoreIncomplete, shown
from storage.files.fingerprint import canonical_json
from storage.files.object_file import read_whole
from storage.files.strict_json import parse_json
from storage.format.layout import FORMAT_NAME, FORMAT_VERSION, commit_name
from storage.format.partial_copy import UNFINISHED, read_part
from storage.place.remote_folder import REQUEST_BYTES, ByteRange, RemoteFolder, Root

HEAD = "HEAD"
STAGE = "_stage"
GROUP = "zarr.json"
MAX_HEAD_BYTES = 128  # asked of a server; a digest and its line end are 65
# No empty part, none that begins with a dot: nothing leads out of the store.
OBJECT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRecord:
    """What an object must be. `chunks` are the crc32c of a shard's inner chunks, None if absent.

    They tell a reader of one chunk that it is this store's and this shard's, not another's.
    """

    num_bytes: int
    sha256: str
    chunks: tuple[int | None, ...] = ()


Records = dict[str, ObjectRecord]


def record_of(content: bytes, chunks: tuple[int | None, ...] = ()) -> ObjectRecord:
    """The record of an object that is about to be written."""
    return ObjectRecord(
        num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest(), chunks=chunks
    )


def encode_records(records: Records, **facts: object) -> bytes:
    """Canonical JSON of records: a commit record (shard=...), or the manifest."""
    objects = {
        name: {"bytes": record.num_bytes, "sha256": record.sha256}
        | ({"chunks": list(record.chunks)} if record.chunks else {})
        for name, record in records.items()
    }
    head = {"format": FORMAT_NAME, "format_version": FORMAT_VERSION}
    return (canonical_json(head | facts | {"objects": objects}) + "\n").encode()


def decode_records(content: bytes, *, where: str) -> Records:
    """The records again.

    Raises:
        StoreCorrupt: when the bytes are not such a file.
        StoreError: when it is of another format or a newer version.
    """
    try:
        value: Any = parse_json(content)
        found = (value["format"], value["format_version"])
        if found != (FORMAT_NAME, FORMAT_VERSION) or type(found[1]) is not int:
            raise StoreError(f"{where}: format {shown(found)} is not known here")
        return {name: _record(name, fields) for name, fields in value["objects"].items()}
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


def read_head(root: Root) -> str:
    """The identity of a sealed store.

    Raises:
        StoreError: when there is no store at all.
        StoreIncomplete: when it is under construction.
        StoreCorrupt: when HEAD is not a digest.
        StoreUnreachable: when the system does not let us read.
    """
    raw = _remote_head(root) if isinstance(root, RemoteFolder) else _local_head(root)
    text = raw.decode("ascii", errors="replace")
    if not re.fullmatch(DIGEST.pattern + "\n", text):
        raise StoreCorrupt(
            f"{root / HEAD}: found {text[:80]!r}, wanted 64 hex digits and a line end"
        )
    return text[:-1]


def _remote_head(root: RemoteFolder) -> bytes:
    raw = root.ask([ByteRange(HEAD, 0, MAX_HEAD_BYTES)])[0]
    if raw is None:
        raise StoreIncomplete(
            f"{root} has no {HEAD}: it is under construction, not copied to its end, or no "
            "soft-label store"
        )
    return raw


def _local_head(root: Path) -> bytes:
    path = root / HEAD
    if not root.exists():
        raise StoreError(f"{root} is not there: run 'essence teacher' first")
    if not root.is_dir() or is_something_else(root):
        raise StoreError(f"{root} is no soft-label store: name a folder such as train.zarr")
    if not path.exists() and not path.is_symlink():
        if begun := read_part(root, UNFINISHED):
            raise StoreIncomplete(
                f"{root} is a copy that is not finished: run 'essence cache pull' or 'push' from "
                f"{shlex.quote(begun.source)} again"
            )
        done = len(list(root.glob(commit_name(0).replace("0" * 8, "*"))))
        raise StoreIncomplete(
            f"{root} is under construction ({done} shards are done, no {HEAD}): "
            "run 'essence teacher' again to finish it"
        )
    return read_whole(root, HEAD)


def is_something_else(root: Path) -> bool:
    """Does it hold things, and none that a store begins with?"""
    names = {path.name for path in root.iterdir()}
    return bool(names) and not names & {HEAD, GROUP, STAGE}


def read_manifest(root: Root, digest: str) -> Records:
    """All objects of a sealed store, by name."""
    path = root / manifest_name(digest)
    content = read_object(root, manifest_name(digest))
    if hashlib.sha256(content).hexdigest() != digest:
        raise StoreCorrupt(f"{path}: its sha256 is not that of its name: bytes have changed")
    return decode_records(content, where=str(path))


def read_object(root: Root, name: str) -> bytes:
    """A small object's bytes, compared with nothing.

    Raises:
        StoreCorrupt: when it is missing.
        StoreUnreachable: when the system does not let us read.
    """
    if isinstance(root, RemoteFolder):
        return root.read_whole({name: None})[0]
    return read_whole(root, name)


def read_objects(root: Root, records: Records) -> Iterator[tuple[str, bytes]]:
    """Small objects by name, compared with their records.

    Raises:
        StoreCorrupt: when one is missing or differs.
        StoreUnreachable: when the system does not let us read.
    """
    for group in group_by_size(records):
        sizes = {name: record.num_bytes for name, record in group.items()}
        if isinstance(root, RemoteFolder):
            contents = root.read_whole(sizes)
        else:
            contents = [read_whole(root, name, num_bytes=size) for name, size in sizes.items()]
        for (name, record), content in zip(group.items(), contents, strict=True):
            if hashlib.sha256(content).hexdigest() != record.sha256:
                raise StoreCorrupt(
                    f"{root / name}: sha256 differs from the manifest's: bytes have changed"
                )
            yield name, content


def group_by_size(records: Records) -> Iterator[Records]:
    """All of them, as many together as make `REQUEST_BYTES`; a larger one alone."""
    group: Records = {}
    num_bytes = 0
    for name, record in records.items():
        if group and num_bytes + record.num_bytes > REQUEST_BYTES:
            yield group
            group, num_bytes = {}, 0
        group[name] = record
        num_bytes += record.num_bytes
    if group:
        yield group
