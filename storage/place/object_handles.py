"""ObjectHandles: objects of a store, open for reading at any place.

Only `pread` is used, so that a fork may share the descriptors. What an open object becomes on
disk meanwhile does not matter: every chunk that is read is compared with the manifest.
"""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from storage.errors import StoreCorrupt
from storage.files.object_file import open_plain, patiently
from storage.format.records import Records

MAX_OPEN = 128  # of the 1024 that a process usually has


class ObjectReader(Protocol):
    """What a reader of chunks needs of the place where the objects are: a disk, or a server."""

    def read(self, name: str, num_bytes: int, offset: int) -> bytes:
        """Bytes [offset, offset + num_bytes) of an object, all of them.

        Raises:
            StoreCorrupt: when it is missing, or ends before.
            StoreUnreachable: when the system does not let us read.
        """
        ...


class ObjectHandles:
    """Opens an object when it is first asked for, and closes the one that has waited longest."""

    def __init__(self, root: Path, records: Records) -> None:
        self._root = root
        self._records = records
        self._open: OrderedDict[str, int] = OrderedDict()

    def read(self, name: str, num_bytes: int, offset: int) -> bytes:
        """Bytes [offset, offset + num_bytes) of an object.

        Raises:
            StoreCorrupt: when it is missing, or of another size than the manifest says.
            StoreUnreachable: when the system does not let us read.
        """
        try:
            raw = os.pread(self._open[name], num_bytes, offset)
        except (KeyError, OSError):
            raw = patiently(
                lambda: self._read(name, num_bytes, offset), where=f"{self._root}/{name}"
            )
        if len(raw) != num_bytes:
            raise StoreCorrupt(f"{self._root}/{name} has shrunk since it was opened")
        return raw

    def close(self) -> None:
        """Close all. They are opened again when asked for."""
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
            os.close(self._open.pop(name))  # a stale handle: the next attempt opens anew
            raise

    def _open_object(self, name: str) -> int:
        handle, found = open_plain(self._root, name)
        if found != self._records[name].num_bytes:
            os.close(handle)
            raise StoreCorrupt(
                f"{self._root}/{name}: the object has {found} bytes, "
                f"written were {self._records[name].num_bytes}"
            )
        self._open[name] = handle
        if len(self._open) > MAX_OPEN:
            os.close(self._open.popitem(last=False)[1])
        return handle
