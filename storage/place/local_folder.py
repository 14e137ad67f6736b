"""LocalFolder: a place on this machine. See `Place`."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from storage.errors import StoreCorrupt, StoreError, StoreUnreachable
from storage.files.fingerprint import handle_digest
from storage.files.object_file import open_plain, opened, patiently, read_start, read_whole
from storage.format.records import STAGE, ObjectRecord, Records
from storage.place.byte_ranges import PIECE_BYTES
from storage.place.object_handles import ObjectHandles

NO_PLAIN_FILE = -1


@dataclass(frozen=True, slots=True)
class LocalFolder:
    """A folder, through which no link is followed (storage/files/object_file.py)."""

    folder: Path
    is_remote: ClassVar[bool] = False
    can_list: ClassVar[bool] = True
    may_be_incomplete: ClassVar[bool] = True

    def __str__(self) -> str:
        return str(self.folder)

    @property
    def address(self) -> str:
        """The absolute path."""
        return str(self.folder.absolute())

    def where(self, name: str) -> str:
        """See `Place`."""
        return f"{self.folder}/{name}"

    def below(self, name: str) -> "LocalFolder":
        """See `Place`."""
        return LocalFolder(self.folder / name)

    def peek(self, name: str, num_bytes: int) -> bytes | None:
        """See `Place`."""
        return read_start(self.folder, name, num_bytes)

    def read_whole(self, sizes: Mapping[str, int | None]) -> Iterator[bytes]:
        """See `Place`."""
        for name, size in sizes.items():
            yield read_whole(self.folder, name, num_bytes=size)

    def pieces(self, name: str, num_bytes: int) -> Iterator[bytes]:
        """See `Place`. One byte more than there should be is read, to see that it is not there."""
        where, start = self.where(name), 0
        handle, _ = patiently(lambda: open_plain(self.folder, name), where=where)
        try:
            while start <= num_bytes:
                wanted = min(PIECE_BYTES, num_bytes + 1 - start)
                piece = patiently(partial(os.pread, handle, wanted, start), where=where)
                if not piece:
                    break
                start += len(piece)
                if start <= num_bytes:
                    yield piece
        finally:
            os.close(handle)
        if start != num_bytes:
            found = start if start < num_bytes else f"more than {num_bytes}"
            raise StoreCorrupt(f"{where} is {found} bytes long, expected {num_bytes}")

    def check(self, records: Records, *, data: bool) -> Iterator[tuple[str, str | None]]:
        """See `Place`."""
        for name, record in records.items():
            yield name, self._check(name, record, data=data)

    def _check(self, name: str, record: ObjectRecord, *, data: bool) -> str | None:
        where = self.where(name)

        def look() -> str | None:
            with opened(self.folder, name) as (handle, found):
                if found != record.num_bytes:
                    return f"{where} is {found} bytes long, expected {record.num_bytes}"
                if data and handle_digest(handle) != record.sha256:
                    return f"{where}: its sha256 differs from the manifest's"
            return None

        try:
            return patiently(look, where=where)
        except StoreCorrupt as error:
            return str(error)

    def open_objects(self, records: Records) -> ObjectHandles:
        """See `Place`."""
        return ObjectHandles(self.folder, records)

    def entries(self, folder: str = "") -> set[str]:
        """See `Place`."""
        if not self.folder.exists():
            raise StoreError(
                f"{self} is not there: name a store that is; those of a work directory are made by "
                "'essence teacher'"
            )
        if not self.folder.is_dir():
            raise StoreError(f"{self} is no soft-label store: name a folder such as train.zarr")
        here = self.folder / folder
        return {path.name for path in here.iterdir()} if here.is_dir() else set()

    def sizes(self) -> dict[str, int]:
        """See `Place`."""

        def refuse(error: OSError) -> None:
            # A folder that vanishes during the walk is the writer's business.
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                raise StoreUnreachable(f"{error.filename} cannot be listed ({error.strerror})")

        found: dict[str, int] = {}
        for here, folders, names in os.walk(self.folder, onerror=refuse):
            below = Path(here).relative_to(self.folder)
            if below == Path():
                folders[:] = [name for name in folders if name != STAGE]
            links = [name for name in folders if (Path(here) / name).is_symlink()]
            for name in (*names, *links):
                with suppress(FileNotFoundError):  # renamed into place at this moment
                    entry = (Path(here) / name).lstat()
                    is_plain = stat.S_ISREG(entry.st_mode)
                    found[(below / name).as_posix()] = entry.st_size if is_plain else NO_PLAIN_FILE
        return found
