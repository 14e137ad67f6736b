"""Manifest: HEAD, the manifest and small objects of a store, read and compared.

HEAD names the manifest; who reads a store starts there.
"""

import hashlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from storage.contents.part import read_part
from storage.errors import StoreCorrupt, StoreError, StoreIncomplete
from storage.files.object_file import read_whole
from storage.format.layout import commit_name
from storage.format.partial_copy import UNFINISHED
from storage.format.records import (
    DIGEST,
    GROUP,
    HEAD,
    STAGE,
    Records,
    decode_records,
    manifest_name,
)
from storage.place.byte_ranges import ByteRange, group_by_size
from storage.place.remote_folder import RemoteFolder, Root

MAX_HEAD_BYTES = 128  # asked of a server; a digest and its line end are 65


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
