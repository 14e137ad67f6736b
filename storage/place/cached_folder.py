"""CachedFolder: a store behind a URL, of which each object is fetched once, whole, and kept here.

The manifest says what each object is, so that all but HEAD is fetched once for good. Where the
server is away, the store is the one that was last seen there.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from storage.errors import StoreCorrupt, StoreUnreachable
from storage.files.object_file import MAX_OBJECT_BYTES
from storage.format.records import (
    DIGEST,
    HEAD,
    ObjectRecord,
    Records,
    decode_records,
    manifest_name,
)
from storage.place.byte_ranges import ByteRange, group_by_size
from storage.place.object_cache import ObjectCache
from storage.place.remote_folder import RemoteFolder

MAX_OPEN = 32  # objects that stay readable though they were dropped meanwhile


class CachedFolder(RemoteFolder):
    """As RemoteFolder. Each thread has open files of its own; `known` is shared by all."""

    def __init__(self, url: str, cache: ObjectCache, known: Records) -> None:
        super().__init__(url)
        self._cache = cache
        self._known = known
        self._open: OrderedDict[str, int] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return cached_folder, (self.url, self._cache.folder, self._cache.max_bytes)

    def __del__(self) -> None:
        for handle in self._open.values():
            with suppress(OSError):
                os.close(handle)

    def ask(self, wanted: Sequence[ByteRange]) -> list[bytes | None]:
        """As RemoteFolder's; HEAD is the last one seen where the server is away."""
        try:
            given = super().ask(wanted)
        except StoreUnreachable:
            remembered = self._cache.remembered_head(self.url)
            if [at.name for at in wanted] != [HEAD] or remembered is None:
                raise
            return [f"{remembered}\n".encode()]
        for at, raw in zip(wanted, given, strict=True):
            text = (raw or b"").decode("ascii", errors="replace")
            if at.name == HEAD and DIGEST.fullmatch(text.removesuffix("\n")):
                self._cache.remember_head(self.url, text.removesuffix("\n"))
        return given

    def read_whole(self, sizes: Mapping[str, int | None]) -> list[bytes]:
        """As RemoteFolder's, from here where it is here."""
        return [self._read_small(name, size) for name, size in sizes.items()]

    def _read_small(self, name: str, size: int | None) -> bytes:
        record = self._known.get(name)
        if record is not None and record.num_bytes == size:
            return self.read_ranges([ByteRange(name, 0, size)])[0]
        return self._read_manifest(name) or super().read_whole({name: size})[0]

    def _read_manifest(self, name: str) -> bytes | None:
        """A manifest is what its name says. What it lists is known from then on."""
        digest = name.removeprefix("manifest-").removesuffix(".json")
        if not DIGEST.fullmatch(digest) or name != manifest_name(digest):
            return None
        content = self._kept_manifest(digest)
        if content is None:
            content = super().read_whole({name: None})[0]
            if hashlib.sha256(content).hexdigest() != digest:
                return content  # who reads it says so
            self._cache.put(digest, content)
        self._known.update(decode_records(content, where=self / name))
        return content

    def _kept_manifest(self, digest: str) -> bytes | None:
        with suppress(OSError):
            content = (self._cache.folder / digest).read_bytes()
            return content if hashlib.sha256(content).hexdigest() == digest else None
        return None

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """As RemoteFolder's: from here, after what is not here has been fetched."""
        self._fetch({at.name: self._known[at.name] for at in wanted if self._is_kept(at.name)})
        given: dict[ByteRange, bytes] = {}
        for at in wanted:
            handle = self._handle(at.name) if self._is_kept(at.name) else None
            if handle is not None:
                given[at] = os.pread(handle, at.stop - at.start, at.start)
        rest = [at for at in dict.fromkeys(wanted) if at not in given]
        given |= dict(zip(rest, super().read_ranges(rest), strict=True)) if rest else {}
        return [given[at] for at in wanted]

    def _is_kept(self, name: str) -> bool:
        """Is it an object that is fetched whole?"""
        record = self._known.get(name)
        most = min(self._cache.max_bytes, MAX_OBJECT_BYTES)
        return record is not None and record.num_bytes <= most

    def _fetch(self, records: Records) -> None:
        """Have these objects here.

        Raises:
            StoreCorrupt: when the server gives other bytes than the manifest says.
            StoreUnreachable: when it does not let us read.
        """
        missing = {n: record for n, record in records.items() if self._handle(n) is None}
        for group in group_by_size(missing):
            with self._cache.claimed(record.sha256 for record in group.values()):
                # Another process may have brought them while we waited.
                still = {n: record for n, record in group.items() if self._handle(n) is None}
                whole = [ByteRange(n, 0, record.num_bytes + 1) for n, record in still.items()]
                contents = super().read_ranges(whole) if whole else []
                for (name, record), content in zip(still.items(), contents, strict=True):
                    self._keep(name, record, content)

    def _keep(self, name: str, record: ObjectRecord, content: bytes) -> None:
        if hashlib.sha256(content).hexdigest() != record.sha256:
            raise StoreCorrupt(
                f"{self / name}: sha256 differs from the manifest's: bytes have changed"
            )
        self._cache.put(record.sha256, content)
        self._handle(name)

    def _handle(self, name: str) -> int | None:
        """An open object; None where it is not here. It stays readable when it is dropped."""
        record = self._known[name]
        handle = self._open.pop(record.sha256, None)
        if handle is None:
            handle = self._cache.open(record.sha256, record.num_bytes)
        if handle is None:
            return None
        self._open[record.sha256] = handle
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return handle


def cached_folder(url: str, folder: Path, max_bytes: int) -> CachedFolder:
    """A store behind `url`, with at most `max_bytes` of it in `folder`."""
    return CachedFolder(url, ObjectCache(folder, max_bytes=max_bytes), {})
