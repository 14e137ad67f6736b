"""LocalTarget: a folder of this machine that a store is copied into.

An object waits below _stage/ until its bytes are on the disk, were read back and are those of the
manifest; then it gets its name. HEAD comes last. A copy without HEAD has in _stage/copy.json what
it is going to hold: the same transfer goes on there, and another one is refused.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from storage.contents.manifest import read_head
from storage.contents.part import read_part
from storage.errors import StoreCorrupt, StoreError, StoreMismatch
from storage.files.fingerprint import SHORT
from storage.files.leftovers import is_leftover
from storage.files.lock import locked
from storage.files.object_file import is_there
from storage.files.publish import make_directories, publish_file, sync_directory
from storage.format.partial_copy import PART, UNFINISHED, PartialCopy, encode_part
from storage.format.records import HEAD, STAGE, ObjectRecord, manifest_name, record_of
from storage.place.local_folder import LocalFolder
from storage.write.commit import clear_stage, publish


class LocalTarget:
    """A folder. See `Target`. What is there already is read: a disk costs no round trips."""

    is_careful: ClassVar[bool] = True

    def __init__(self, root: Path) -> None:
        self._root = root
        self._place = LocalFolder(root)
        self._folders: set[Path] = set()  # in which names have changed

    def __str__(self) -> str:
        return str(self._root)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See `Target`. The lock ends with the process.

        Raises:
            StoreError: when another process copies into this folder.
        """
        make_directories(self._root)
        busy = StoreError(
            f"{self._root}: another process is copying into it: wait for it, or stop it"
        )
        with locked(self._root, busy=busy):
            yield

    def head(self) -> str | None:
        """The digest of the store that is here."""
        return read_head(self._place) if is_there(self._root, HEAD) else None

    def part(self) -> PartialCopy | None:
        """What a partial copy holds."""
        return read_part(self._place)

    def refuse_others(self, digest: str) -> None:
        """See `Target`. A store that a teacher makes here has no _stage/copy.json."""
        if not self._root.exists():
            return
        if not self._root.is_dir():
            raise StoreError(f"{self._root} is no folder: name a new one, such as train.zarr")
        begun = read_part(self._place, UNFINISHED)
        found = self.head() or (begun.digest if begun else None)
        if found not in (None, digest):
            raise StoreMismatch(
                f"{self._root} holds another store: found {found[:SHORT]}, wanted "
                f"{digest[:SHORT]}: name another folder, or remove this one"
            )
        if found is None and any(self._root.iterdir()) and not self._is_hardly_begun():
            raise StoreError(
                f"{self._root} holds files and is no copy that was begun: name a new folder, "
                "such as train.zarr"
            )

    def _is_hardly_begun(self) -> bool:
        """Was a transfer killed before its _stage/copy.json was written?"""
        names = {path.name for path in self._root.iterdir()}
        stage = self._root / STAGE
        return names == {STAGE} and all(is_leftover(path.name) for path in stage.iterdir())

    def holds(self, name: str, record: ObjectRecord, *, careful: bool) -> bool:
        """See `Target`."""
        return self._what_is_wrong(name, record, data=careful) is None

    def begin(self, part: PartialCopy, num_bytes: int) -> None:
        """See `Target`.

        Raises:
            StoreError: when there is not enough room for what will come.
        """
        free = shutil.disk_usage(self._root).free
        if num_bytes > free:
            raise StoreError(
                f"{self._root}: {num_bytes:,} bytes are to come, {free:,} are free: make room, "
                "or ask for less (--k, --shards)"
            )
        place = self._root / UNFINISHED
        self._make_folder(place.parent)
        publish_file(place, encode_part(part))

    def write(self, name: str, record: ObjectRecord, pieces: Iterable[bytes]) -> None:
        """See `Target`. The bytes that are compared are read back from the disk."""
        staged = f"{STAGE}/{name.replace('/', '.')}.{record.sha256}"
        partial, place = self._root / staged, self._root / name
        try:
            with partial.open("wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            if wrong := self._what_is_wrong(staged, record, data=True):
                raise StoreCorrupt(f"{name}: these are not the bytes of the manifest: {wrong}")
            self._make_folder(place.parent)
            os.replace(partial, place)
        except StoreCorrupt:
            partial.unlink(missing_ok=True)
            raise
        self._folders.add(place.parent)

    def seal(self, digest: str, manifest: bytes, part: PartialCopy | None) -> None:
        """See `Target`. part.json is written after the objects that it lists are on the disk."""
        for folder in sorted(self._folders, reverse=True):
            sync_directory(folder)
        name = manifest_name(digest)
        if self._what_is_wrong(name, record_of(manifest), data=True):
            publish(self._root, {name: manifest})
        if part is not None:
            publish(self._root, {PART: encode_part(part)})
        elif is_there(self._root, PART):
            (self._root / PART).unlink()
            sync_directory(self._root)
        if self.head() != digest:
            publish(self._root, {HEAD: f"{digest}\n".encode()})
        clear_stage(self._root)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder below the root. A link on the way would lead out.

        Raises:
            StoreError: when one is there.
        """
        here = self._root
        for part in folder.relative_to(self._root).parts:
            parent, here = here, here / part
            if here.is_symlink():
                raise StoreError(f"{here} is a link, wanted a folder: remove it")
            if not here.is_dir():
                here.mkdir(exist_ok=True)
                self._folders.add(parent)

    def _what_is_wrong(self, name: str, record: ObjectRecord, *, data: bool) -> str | None:
        ((_, text),) = self._place.check({name: record}, data=data)
        return text
