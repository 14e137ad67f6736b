"""Atomic publication: write another file, flush it, then rename. Readers never see half a file."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from storage.files.fingerprint import READ_BYTES
from storage.files.full_disk import naming
from storage.files.leftovers import unfinished
from storage.files.regular_file import open_regular


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power loss."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_directories(directory: Path) -> None:
    """Make a directory and those above it; the name of each new one survives a power loss."""
    if directory.is_dir():
        return
    make_directories(directory.parent)
    directory.mkdir(exist_ok=True)
    sync_directory(directory.parent)


def write_and_sync(path: Path, content: bytes) -> None:
    """Write a file and wait until its bytes are on the disk. Not atomic: see `publish_file`."""
    _write_pieces(path, [content], needed=len(content))


def _write_pieces(path: Path, pieces: Iterable[bytes], *, needed: int | None = None) -> None:
    with naming(path, needed=needed), path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def publish_file(path: Path, content: bytes) -> None:
    """Put `content` at `path`, whole or not at all."""
    publish_pieces(path, [content], needed=len(content))


def publish_pieces(path: Path, pieces: Iterable[bytes], *, needed: int | None = None) -> None:
    """As `publish_file`, for a content that need not be in memory at once.

    `needed`: its number of bytes, where that is known, for the error of a full disk.
    """
    partial = unfinished(path)
    try:
        _write_pieces(partial, pieces, needed=needed)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_directory(path.parent)


def publish_copy(source: Path, target: Path) -> str:
    """A copy of a regular file at `target`, whole or not at all; returns the SHA-256 of its bytes.

    Raises:
        OSError: also if `source` is a folder, pipe or device.
    """
    digest = hashlib.sha256()
    with open_regular(source) as file:

        def pieces() -> Iterator[bytes]:
            while piece := file.read(READ_BYTES):
                digest.update(piece)
                yield piece

        publish_pieces(target, pieces(), needed=os.fstat(file.fileno()).st_size)
    return digest.hexdigest()


def sync_tree(directory: Path) -> None:
    """Flush every file and directory below `directory`."""
    for folder, _, names in os.walk(directory):
        for name in names:
            handle = os.open(Path(folder) / name, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_directory(Path(folder))


def publish_directory(partial: Path, final: Path) -> None:
    """Rename a finished directory into place, after its content has reached the disk.

    Raises:
        FileExistsError: when `final` is there already: it is never replaced.
    """
    if final.exists():
        raise FileExistsError(f"{final} is there already; it is not replaced")
    sync_tree(partial)
    os.rename(partial, final)
    sync_directory(final.parent)
