"""ObjectHandles: objects of a local store, kept open for reading at any offset.

A few reads of small chunks follow each other quickly: opening the file takes longer than the read,
so that descriptors are kept. Only `pread` is used, which has no shared position: a fork may share
the descriptors. An object that is replaced on disk meanwhile does no harm: every chunk that is
read is compared with the manifest.
"""

import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from storage.errors import StoreCorrupt
from storage.files.object_file import open_plain, patiently
from storage.format.records import Records
from storage.place.byte_ranges import ByteRange

MAX_OPEN = 128  # of the 1024 that a process usually has


class ObjectHandles:
    """An `ObjectReader` that opens an object on its first read, and closes the least recent one."""

    def __init__(self, root: Path, records: Records) -> None:
        self._root = root
        self._records = records
        self._open: OrderedDict[str, int] = OrderedDict()

    def read(self, name: str, num_bytes: int, offset: int) -> bytes:
        """See `ObjectReader`. An object of another size than the manifest's is corrupt as well."""
        try:
            # The hot path: no look at the file's size, no retry, until something is odd.
            raw = os.pread(self._open[name], num_bytes, offset)
        except (KeyError, OSError):
            raw = patiently(
                lambda: self._read(name, num_bytes, offset), where=f"{self._root}/{name}"
            )
        if len(raw) != num_bytes:
            raise StoreCorrupt(f"{self._root}/{name} has shrunk since it was opened")
        return raw

    def expect(self, wanted: Iterable[ByteRange]) -> None:
        """See `ObjectReader`. A disk needs no notice: the system reads ahead."""

    def close(self) -> None:
        """Close all. The next read opens its object again."""
        while self._open:
            os.close(self._open.popitem()[1])

    def __del__(self) -> None:
        self.close()

    def _read(self, name: str, num_bytes: int, offset: int) -> bytes:
        handle = self._open.get(name)
        if handle is None:
            handle = self._open_object(name)
        try:
            return os.pread(handle, num_bytes, offset)
        except OSError:
            os.close(self._open.pop(name))  # a stale handle: the next attempt opens again
            raise

    def _open_object(self, name: str) -> int:
        handle, found = open_plain(self._root, name)
        if found != self._records[name].num_bytes:
            os.close(handle)
            raise StoreCorrupt(
                f"{self._root}/{name} is {found} bytes long, "
                f"expected {self._records[name].num_bytes}"
            )
        self._open[name] = handle
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return handle
