"""Remote verify: objects on a server against their records, as few round trips as sizes allow."""

import hashlib
from collections.abc import Iterator
from typing import Any

from storage.format.records import ObjectRecord, Records
from storage.place.byte_ranges import REQUEST_BYTES, ByteRange, group_by_size
from storage.place.remote_folder import RemoteFolder

MAX_TOGETHER = 256  # requests on their way at once


def look_at_sizes(root: RemoteFolder, records: Records) -> Iterator[tuple[str, str | None]]:
    """(name, what is wrong): the last byte must be there, and none behind it.

    Raises:
        StoreUnreachable: when the server does not let us read.
    """
    names = list(records)
    for first in range(0, len(names), MAX_TOGETHER):
        some = {name: records[name] for name in names[first : first + MAX_TOGETHER]}
        ends = {name: record.num_bytes for name, record in some.items()}
        wanted = [ByteRange(name, max(end - 1, 0), end + 1) for name, end in ends.items()]
        for place, raw in zip(wanted, root.ask(wanted), strict=True):
            yield place.name, _wrong_size(root, place, raw, end=ends[place.name])


def look_at_bytes(root: RemoteFolder, records: Records) -> Iterator[tuple[str, str | None]]:
    """(name, what is wrong) of all bytes. Raises as `look_at_sizes`."""
    for group in group_by_size(records):
        if sum(record.num_bytes for record in group.values()) > REQUEST_BYTES:
            yield from ((name, _read_large(root, name, record)) for name, record in group.items())
            continue
        wanted = [ByteRange(name, 0, record.num_bytes + 1) for name, record in group.items()]
        for place, raw in zip(wanted, root.ask(wanted), strict=True):
            record = group[place.name]
            text = _wrong_size(root, place, raw, end=record.num_bytes)
            yield (
                place.name,
                text or _wrong_digest(root, place.name, record, hashlib.sha256(raw or b"")),
            )


def _read_large(root: RemoteFolder, name: str, record: ObjectRecord) -> str | None:
    digest, end = hashlib.sha256(), record.num_bytes
    for start in range(0, end, REQUEST_BYTES):
        stop = start + REQUEST_BYTES if start + REQUEST_BYTES < end else end + 1
        place = ByteRange(name, start, stop)
        raw = root.ask([place])[0]
        if text := _wrong_size(root, place, raw, end=end):
            return text
        digest.update(raw or b"")
    return _wrong_digest(root, name, record, digest)


def _wrong_size(root: RemoteFolder, place: ByteRange, raw: bytes | None, *, end: int) -> str | None:
    """A range that reaches beyond the end holds one byte that must not be there."""
    where, asked = root / place.name, place.stop - place.start
    if raw is None:
        return f"{where} cannot be read (no such object)"
    if place.start and len(raw) > asked:
        return (
            f"{where}: found {len(raw)} bytes, asked were {asked}: it is another object, or the "
            "server gives no byte ranges"
        )
    if len(raw) == min(place.stop, end) - place.start:
        return None
    found = f"more than {end}" if len(raw) >= asked else f"at most {place.start + len(raw)}"
    return f"{where} has {found} bytes, written were {end}"


def _wrong_digest(root: RemoteFolder, name: str, record: ObjectRecord, digest: Any) -> str | None:
    if digest.hexdigest() == record.sha256:
        return None
    return f"{root / name}: its sha256 differs from the manifest's"
