"""CalmFile: the file below HDF5. A failed write is remembered, and not reported to HDF5.

HDF5 cannot close a file whose disk is full: it tries to flush again, and the process dies of a
segmentation fault. So writes always "succeed" here; the writer checks `refuse_failed` after each
step, and removes the file if one failed.
"""

import io
import os
import shutil
from pathlib import Path

from storage.errors import StorageError


class CalmFile(io.RawIOBase):
    """A new file, for reading and writing at any place."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._position = self._size = 0
        self._failure: OSError | None = None

    def refuse_failed(self) -> None:
        """Raise the error of the first write that failed, if one did.

        Raises:
            StorageError: with what is free; nothing that was written may be used.
        """
        if self._failure is not None:
            free = shutil.disk_usage(self._path.parent).free
            raise StorageError(
                f"{self._path} cannot be written: {self._failure.strerror}: {self._size:,} bytes "
                f"so far, {free:,} are free: make room, and the same command goes on"
            ) from self._failure

    def sync(self) -> None:
        """Wait until all bytes are on the disk; see `refuse_failed`."""
        try:
            os.fsync(self._handle)
        except OSError as cause:
            self._failure = self._failure or cause
        self.refuse_failed()

    def write(self, content: bytes | memoryview, /) -> int:  # type: ignore[override]
        """Write all bytes, or remember the error."""
        rest = memoryview(content).cast("B")
        total = len(rest)
        try:
            while rest and self._failure is None:
                done = os.pwrite(self._handle, rest, self._position + total - len(rest))
                rest = rest[done:]
        except OSError as cause:
            self._failure = cause
        self._position += total
        self._size = max(self._size, self._position)
        return total

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """Read; zeros from a part whose write failed."""
        place = memoryview(buffer).cast("B")
        found = os.pread(self._handle, len(place), self._position)
        place[:] = found.ljust(len(place), b"\0")
        self._position += len(place)
        return len(place)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move; the end is where it would be if all writes had succeeded."""
        begin = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = begin + offset
        return self._position

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length."""
        self._size = self._position if size is None else size
        try:
            os.ftruncate(self._handle, self._size)
        except OSError as cause:
            self._failure = self._failure or cause
        return self._size

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def close(self) -> None:
        """Close it; may be called again."""
        if not self.closed:
            os.close(self._handle)
        super().close()
