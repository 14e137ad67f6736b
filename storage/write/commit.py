"""Commit: how objects reach a store so that a kill at any instruction costs time only.

    stage     write every object under _stage/, flush, read back, compare
    link      hard-link the commit record to its place: the first one wins, this is the commit
    finish    flush the link, rename the staged objects to their places; any process may repeat it

Before the link nothing of the shard counts: a kill leaves files in _stage/. After it the shard is
decided: whatever process comes next installs what the record names, from _stage/. The name of a
staged file contains the digest of its content, so that the files of two writers never mix, and a
writer that resumes uses what another one left.

tests/support/oracles/commit_model.py searches a model of this protocol exhaustively: two writers,
a kill and a power cut between any two system calls. None of its flushes can be left out.
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
        # mkdir found it, and another writer cleared it before mkdir looked whether it is a folder.
        raise FileNotFoundError(errno.ENOENT, "the stage was cleared", str(folder)) from cause
    for name, content in objects.items():
        _stage_one(staged_path(root, name, records[name].sha256), content)
    sync_directory(folder)
    # The name of the stage itself, too: another writer may have made it and not flushed it yet.
    sync_directory(root)


def _stage_one(path: Path, content: bytes) -> None:
    """Write one staged file, and compare what the disk returns.

    After a failed flush the file is written again, not flushed again: the system may have dropped
    the pages, and would report success for the second flush.
    """
    for attempts_left in reversed(range(ATTEMPTS)):
        # Another writer may stage the same object: each writes its own file, and renames it.
        partial = path.with_name(f"{path.name}.{uuid4().hex}")
        try:
            write_and_sync(partial, content)
            if partial.read_bytes() != content:
                raise StoreCorrupt(f"{partial}: the disk returned other bytes than were written")
            os.replace(partial, path)
            if partial.exists():  # a look costs nothing; the object would be lost at the commit
                raise OSError(errno.EIO, "a rename reported success and did nothing")
        except BaseException as cause:
            with suppress(OSError):  # the stage is removed as a whole when the store is sealed
                partial.unlink()
            if attempts_left and isinstance(cause, OSError) and cause.errno == errno.EIO:
                continue
            raise
        return


def link_record(root: Path, name: str, content: bytes) -> bytes:
    """Link a commit record to its place. Returns the record that holds: that of the first writer.

    Raises:
        StoreError: when the file system has no hard links.
    """
    record = record_of(content)
    stage(root, {name: content}, {name: record})
    place = root / name
    place.parent.mkdir(exist_ok=True)
    try:
        # Unlike a rename, a link fails if the name exists: of two writers one wins, on NFS too.
        os.link(staged_path(root, name, record.sha256), place)
    except FileExistsError:
        pass
    except PermissionError as cause:
        raise StoreError(
            f"{place}: this file system has no hard links ({cause.strerror}): "
            "write the store on a local disk"
        ) from cause
    return read_whole(root, name)


def finish_commit(root: Path, name: str, records: Records) -> None:
    """Flush the link of a commit record, and install its objects. May be repeated by any writer.

    The writer that made the link may have been killed before it flushed it. A store sealed on
    such a link would lose a commit record in a power cut.

    Raises:
        StoreCorrupt: when an object is neither staged nor in place.
    """
    sync_directory((root / name).parent)
    sync_directory(root)
    install(root, records)


def install(root: Path, records: Records) -> None:
    """Rename staged objects to their places. Those that are in place already stay.

    Raises:
        StoreCorrupt: when an object is neither staged nor in place.
    """
    folders: set[Path] = set()
    for name, record in records.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.replace(staged_path(root, name, record.sha256), place)
        except FileNotFoundError:  # not staged: another process has installed it
            refuse_lost(root, name, record)
        folders.update(_folders_between(root, place))
    for name, record in records.items():  # a rename may report success and do nothing
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
    """Stage and install objects of which every writer writes the same bytes.

    The last one is installed when all others are in place and on the disk: a reader that finds it
    (HEAD, or the group's zarr.json) finds them all.
    """
    records = {name: record_of(content) for name, content in objects.items()}
    stage(root, objects, records)
    *others, last = records
    install(root, {name: records[name] for name in others})
    install(root, {last: records[last]})


def clear_stage(root: Path) -> None:
    """Remove the stage, which a finished store does not need."""
    shutil.rmtree(root / STAGE, ignore_errors=True)
    sync_directory(root)


def staged_path(root: Path, name: str, sha256: str) -> Path:
    """The file in which an object waits for its commit."""
    return root / STAGE / f"{name.replace('/', '.')}.{sha256}"


def _folders_between(root: Path, place: Path) -> Iterable[Path]:
    folder = place.parent
    while folder != root:
        yield folder
        folder = folder.parent
    yield root
