"""Manifest: HEAD, the manifest and small objects of a store, read and compared.

HEAD names the manifest, and the manifest lists all other objects: every reader starts there.
"""

import hashlib
import re
import shlex
from collections.abc import Iterator
from typing import NoReturn

from storage.contents.part import read_part
from storage.errors import StoreCorrupt, StoreError, StoreIncomplete
from storage.format.layout import COMMITS
from storage.format.partial_copy import UNFINISHED
from storage.format.recorded import ARGUMENTS_NAME
from storage.format.records import (
    DIGEST,
    GROUP,
    HEAD,
    STAGE,
    Manifest,
    Records,
    decode_manifest,
    manifest_name,
)
from storage.place.place import Place

MAX_HEAD_BYTES = 128  # a digest and its line end are 65


def read_head(place: Place) -> str:
    """The digest of a sealed store.

    Raises:
        StoreError: when there is no store at all.
        StoreIncomplete: when it is under construction.
        StoreCorrupt: when HEAD is not a digest.
        StoreUnreachable: when the system or the server does not let us read.
    """
    raw = place.peek(HEAD, MAX_HEAD_BYTES)
    if raw is None:
        _refuse_unsealed(place)
    text = raw.decode("ascii", errors="replace")
    if not re.fullmatch(DIGEST.pattern + "\n", text):
        raise StoreCorrupt(
            f"{place.where(HEAD)}: found {text[:80]!r}, wanted 64 hex digits and a line end"
        )
    return text[:-1]


def _refuse_unsealed(place: Place) -> NoReturn:
    """Raise the error that explains why there is no HEAD."""
    if not place.can_list:
        raise StoreIncomplete(
            f"{place} has no {HEAD}: it is under construction, not copied to its end, or no "
            "soft-label store"
        )
    if holds_other_things(place.entries()):
        raise StoreError(f"{place} is no soft-label store: name a folder such as train.zarr")
    if begun := read_part(place, UNFINISHED):
        raise StoreIncomplete(
            f"{place} is a copy that is not finished: run 'essence cache pull' or 'push' from "
            f"{shlex.quote(begun.source)} again"
        )
    if ARGUMENTS_NAME in place.entries(STAGE):
        raise StoreIncomplete(
            f"{place} is under construction by essence.record: run the program that records it "
            "again, which adds what recorder.missing lists"
        )
    num_done = len(place.entries(COMMITS))
    raise StoreIncomplete(
        f"{place} is under construction ({num_done} shards are done, no {HEAD}): "
        "run what makes it again to finish it ('essence teacher', 'essence cache import')"
    )


def holds_other_things(entries: set[str]) -> bool:
    """Are there entries in a folder, and none that a store begins with?"""
    return bool(entries) and not entries & {HEAD, GROUP, STAGE}


def read_manifest(place: Place, digest: str) -> Manifest:
    """All objects of a sealed store, by name. Raises as `read_manifest_bytes`."""
    content = read_manifest_bytes(place, digest)
    return decode_manifest(content, where=place.where(manifest_name(digest)))


def read_manifest_bytes(place: Place, digest: str) -> bytes:
    """The manifest with this digest, as it lies there.

    Raises:
        StoreCorrupt: when it is missing or has another digest.
        StoreUnreachable: when the system or the server does not let us read.
    """
    name = manifest_name(digest)
    content = read_object(place, name)
    if hashlib.sha256(content).hexdigest() != digest:
        raise StoreCorrupt(
            f"{place.where(name)}: its sha256 is not that of its name: bytes have changed"
        )
    return content


def read_object(place: Place, name: str) -> bytes:
    """A small object's bytes, compared with nothing. Raises as `read_manifest_bytes`."""
    return next(iter(place.read_whole({name: None})))


def read_objects(place: Place, records: Records) -> Iterator[tuple[str, bytes]]:
    """Small objects by name, compared with their records. Raises as `read_manifest_bytes`."""
    contents = place.read_whole({name: record.num_bytes for name, record in records.items()})
    for (name, record), content in zip(records.items(), contents, strict=True):
        if hashlib.sha256(content).hexdigest() != record.sha256:
            raise StoreCorrupt(
                f"{place.where(name)}: sha256 differs from the manifest's: bytes have changed"
            )
        yield name, content
