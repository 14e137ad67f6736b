"""RemoteCheck: objects on a server against their records, in as few round trips as sizes allow."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from storage.format.records import ObjectRecord, Records
from storage.place.byte_ranges import REQUEST_BYTES, ByteRange, group_by_size

MAX_TOGETHER = 256  # requests on their way at once


@dataclass(frozen=True, slots=True)
class RemoteCheck:
    """`find_ranges` is that of a RemoteFolder whose name is `place`."""

    find_ranges: Callable[[Sequence[ByteRange]], list[bytes | None]]
    place: str

    def sizes(self, records: Records) -> Iterator[tuple[str, str | None]]:
        """(name, what is wrong): the last byte must be there, and none after it.

        Raises:
            StoreUnreachable: when the server does not let us read.
        """
        names = list(records)
        for first in range(0, len(names), MAX_TOGETHER):
            ends = {name: records[name].num_bytes for name in names[first : first + MAX_TOGETHER]}
            wanted = [ByteRange(name, max(end - 1, 0), end + 1) for name, end in ends.items()]
            for asked, raw in zip(wanted, self.find_ranges(wanted), strict=True):
                yield asked.name, self._wrong_size(asked, raw, end=ends[asked.name])

    def content(self, records: Records) -> Iterator[tuple[str, str | None]]:
        """(name, what is wrong) of all bytes. Raises as `sizes`."""
        for group in group_by_size({name: record.num_bytes for name, record in records.items()}):
            ends = {name: records[name].num_bytes for name in group}
            if sum(ends.values()) > REQUEST_BYTES:
                yield from ((name, self._read_large(name, records[name])) for name in group)
                continue
            wanted = [ByteRange(name, 0, end + 1) for name, end in ends.items()]
            for asked, raw in zip(wanted, self.find_ranges(wanted), strict=True):
                record = records[asked.name]
                text = self._wrong_size(asked, raw, end=record.num_bytes)
                digest = hashlib.sha256(raw or b"")
                yield asked.name, text or self._wrong_digest(asked.name, record, digest)

    def _read_large(self, name: str, record: ObjectRecord) -> str | None:
        """An object that does not fit in a request, piece by piece: memory stays bounded."""
        digest, end = hashlib.sha256(), record.num_bytes
        for start in range(0, end, REQUEST_BYTES):
            stop = start + REQUEST_BYTES if start + REQUEST_BYTES < end else end + 1
            asked = ByteRange(name, start, stop)
            raw = self.find_ranges([asked])[0]
            if text := self._wrong_size(asked, raw, end=end):
                return text
            digest.update(raw or b"")
        return self._wrong_digest(name, record, digest)

    def _wrong_size(self, asked: ByteRange, raw: bytes | None, *, end: int) -> str | None:
        """A range that reaches beyond the end holds one byte that must not be there."""
        where, num_asked = f"{self.place}/{asked.name}", asked.stop - asked.start
        if raw is None:
            return f"{where} cannot be read (no such object)"
        if asked.start and len(raw) > num_asked:
            return (
                f"{where}: found {len(raw)} bytes, requested {num_asked}: it is another object, or "
                "the server gives no byte ranges"
            )
        if len(raw) == min(asked.stop, end) - asked.start:
            return None
        found = f"more than {end}" if len(raw) >= num_asked else f"at most {asked.start + len(raw)}"
        return f"{where} is {found} bytes long, expected {end}"

    def _wrong_digest(self, name: str, record: ObjectRecord, digest: Any) -> str | None:
        if digest.hexdigest() == record.sha256:
            return None
        return f"{self.place}/{name}: its sha256 differs from the manifest's"
