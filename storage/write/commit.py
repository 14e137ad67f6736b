"""Commit: how objects reach a store so that a kill at any instruction costs time only.

    stage     write every object under _stage/, flush, read back, compare
    link      hard-link the commit record to its place: the first one wins, this is the commit
    install   rename the staged objects to their places; anybody may do it again

A staged name holds the digest of the content, so that two writers never mix, and who
resumes finds what another left. A commit record tells which digests were staged.
"""

import errno
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from storage.errors import StoreCorrupt, StoreError
from storage.files.object_file import ATTEMPTS, read_whole
from storage.files.publish import sync_directory, write_and_sync
from storage.format.records import STAGE, ObjectRecord, Records, record_of


def stage(root: Path, objects: dict[str, bytes], records: Records) -> None:
    """Write objects under _stage/, and make sure that they are there.

    Raises:
        StoreCorrupt: when what is read back is not what was written.
        FileNotFoundError: when another writer clears the stage at this moment.
    """
    folder = root / STAGE
    try:
        folder.mkdir(exist_ok=True)
    except FileExistsError as cause:
        if folder.exists():
            raise
        # It was there, and was cleared before mkdir could see that it is a folder.
        raise FileNotFoundError(errno.ENOENT, "the stage was cleared", str(folder)) from cause
    for name, content in objects.items():
        _stage_one(staged_path(root, name, records[name].sha256), content)
    sync_directory(folder)


def _stage_one(path: Path, content: bytes) -> None:
    """A failed flush is never repeated on its file: the next one would say that all is well,
    though the system has dropped the pages. The file is dropped, and written anew."""
    for attempts_left in reversed(range(ATTEMPTS)):
        beside = path.with_name(f"{path.name}.{uuid4().hex}")  # another may write the same
        try:
            write_and_sync(beside, content)
            if beside.read_bytes() != content:
                raise StoreCorrupt(f"{beside}: the disk gave back other bytes than were written")
            os.replace(beside, path)
            if beside.exists():
                raise OSError(errno.EIO, "a rename that said it was done was not")
        except BaseException as cause:
            with suppress(OSError):  # what cannot be removed now goes when the store is sealed
                beside.unlink()
            if attempts_left and isinstance(cause, OSError) and cause.errno == errno.EIO:
                continue
            raise
        return


def link_record(root: Path, name: str, content: bytes) -> bytes:
    """Link a commit record to its place. Returns the record that holds: the first one's.

    Raises:
        StoreError: when the file system has no hard links.
    """
    record = record_of(content)
    stage(root, {name: content}, {name: record})
    place = root / name
    place.parent.mkdir(exist_ok=True)
    try:
        os.link(staged_path(root, name, record.sha256), place)
    except FileExistsError:
        pass
    except PermissionError as cause:
        raise StoreError(
            f"{place}: this file system has no hard links ({cause.strerror}): "
            "write the store on a local disk"
        ) from cause
    sync_directory(place.parent)
    sync_directory(root)
    return read_whole(root, name)


def install(root: Path, records: Records) -> None:
    """Rename staged objects to their places. Those that are there already stay.

    Raises:
        StoreCorrupt: when an object is neither staged nor in place.
    """
    folders: set[Path] = set()
    for name, record in records.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(staged_path(root, name, record.sha256), place)
        except FileNotFoundError:
            refuse_lost(root, name, record)
        folders.update(_folders_between(root, place))
    for name, record in records.items():  # a rename may have lied
        refuse_lost(root, name, record)
    for folder in sorted(folders):
        sync_directory(folder)


def refuse_lost(root: Path, name: str, record: ObjectRecord) -> None:
    """Raise StoreCorrupt when a committed object is not in its place."""
    place = root / name
    if not place.is_file() or place.stat().st_size != record.num_bytes:
        raise StoreCorrupt(
            f"{place} was committed and is missing or of another size: "
            f"run 'essence cache repair {root}', then 'essence teacher'"
        )


def publish(root: Path, objects: dict[str, bytes]) -> None:
    """Stage and install objects that are the same whoever writes them.

    The last one comes to its place when all others are safe in theirs.
    """
    records = {name: record_of(content) for name, content in objects.items()}
    stage(root, objects, records)
    *others, last = records
    install(root, {name: records[name] for name in others})
    install(root, {last: records[last]})


def clear_stage(root: Path) -> None:
    """Remove what a finished store does not need."""
    shutil.rmtree(root / STAGE, ignore_errors=True)
    sync_directory(root)


def staged_path(root: Path, name: str, sha256: str) -> Path:
    """Where an object waits for its commit."""
    return root / STAGE / f"{name.replace('/', '.')}.{sha256}"


def _folders_between(root: Path, place: Path) -> Iterable[Path]:
    folder = place.parent
    while folder != root:
        yield folder
        folder = folder.parent
    yield root
