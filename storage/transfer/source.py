"""Transfer source: a sealed store that is to be copied, and its objects piece by piece.

Nothing that a source says is believed: never more is read of an object than its record allows,
and who takes the pieces compares their digest.
"""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from storage.contents.listed_objects import refuse_odd_objects
from storage.contents.manifest import read_head, read_manifest
from storage.contents.metadata import StoreMetadata, read_sealed_metadata
from storage.contents.part import read_part
from storage.errors import StoreCorrupt, StoreMismatch, StorePartial
from storage.files.object_file import open_plain, patiently
from storage.format.partial_copy import PART, PartialCopy, decode_part
from storage.format.records import ObjectRecord, Records, manifest_name
from storage.place.byte_ranges import ByteRange
from storage.place.remote_folder import RemoteFolder, Root, find_root

PIECE_BYTES = 1 << 21  # of one read or request: progress moves, a stop is heard
KEPT_BYTES = 1 << 24  # of a small object that is read for its content and then moved


class RememberingFolder(RemoteFolder):
    """Asks for small objects once: they are read before they are moved."""

    def __init__(self, url: str, held: dict[str, bytes]) -> None:
        super().__init__(url)
        self._held = held  # all threads share it

    def read_whole(self, sizes: Mapping[str, int | None]) -> list[bytes]:
        """As RemoteFolder's."""
        contents = super().read_whole(sizes)
        for name, content in zip(sizes, contents, strict=True):
            if len(content) <= KEPT_BYTES:
                self._held[name] = content
        return contents

    def read_ranges(self, wanted: Sequence[ByteRange]) -> list[bytes]:
        """As RemoteFolder's."""
        asked = iter(super().read_ranges([at for at in wanted if at.name not in self._held]))
        return [
            self._held[at.name][at.start : at.stop] if at.name in self._held else next(asked)
            for at in wanted
        ]


@dataclass(frozen=True, slots=True)
class Source:
    """A sealed store: what it lists, and what it is. `part` where it is a partial copy itself."""

    root: Root
    digest: str
    records: Records
    metadata: StoreMetadata
    part: PartialCopy | None

    @property
    def place(self) -> str:
        """Where it lies, for people: a URL without a password, or a path from the root."""
        return str(self.root.absolute() if isinstance(self.root, Path) else self.root)

    def manifest(self) -> bytes:
        """The manifest as it lies there; its sha256 is `digest`."""
        name = manifest_name(self.digest)
        root = self.root
        if isinstance(root, RemoteFolder):
            return root.read_whole({name: None})[0]
        return b"".join(_local_pieces(root, name))

    def refuse_left_out(self, names: Iterable[str]) -> None:
        """Make sure that the source has these objects.

        Raises:
            StorePartial: naming one that it has not.
        """
        for name in names:
            if self.part is not None and not self.part.holds(name):
                raise StorePartial(
                    f"{self.root} is a partial copy itself, without {name}: pull from "
                    f"{self.part.source}, or ask for what is there ('essence cache info')"
                )


def open_source(path: Path | str, *, expect: tuple[str, ...] = ()) -> Source:
    """A sealed store at a path or a URL. Every field that comes from there is checked.

    Raises:
        StoreIncomplete: when it is under construction.
        StoreMismatch: when its digest is none of those that are expected.
        StoreCorrupt: when it is not what it says.
        StoreUnreachable: when the system or the server does not let us read.
    """
    root = find_root(path)
    if isinstance(root, RemoteFolder):
        root = RememberingFolder(root.url, {})
    digest = read_head(root)
    if expect and digest not in expect:
        raise StoreMismatch(
            f"{root}: found the store {digest}, expected {' or '.join(expect)}: it is another "
            "store, or not the one that you were told of; nothing was taken"
        )
    records = read_manifest(root, digest)
    metadata = read_sealed_metadata(root, records)
    refuse_odd_objects(metadata, records, where=str(root))
    return Source(root, digest, records, metadata, _read_part(root))


def _read_part(root: Root) -> PartialCopy | None:
    if isinstance(root, Path):
        return read_part(root)
    try:
        content = root.read_whole({PART: None})[0]
    except StoreCorrupt:  # none there, as it should be
        return None
    return decode_part(content, where=str(root / PART))


def object_pieces(root: Root, name: str, record: ObjectRecord) -> Iterator[bytes]:
    """An object's bytes, as many as its record says.

    Raises:
        StoreCorrupt: when it is missing, shorter or longer.
        StoreUnreachable: when the system or the server does not let us read.
    """
    if isinstance(root, RemoteFolder):
        yield from _remote_pieces(root, name, record.num_bytes)
        return
    num_bytes = 0
    for piece in _local_pieces(root, name, most=record.num_bytes):
        num_bytes += len(piece)
        yield piece
    if num_bytes != record.num_bytes:
        raise StoreCorrupt(f"{root / name} has {num_bytes} bytes, written were {record.num_bytes}")


def _remote_pieces(root: RemoteFolder, name: str, end: int) -> Iterator[bytes]:
    """The last request asks for one byte more, which must not be there."""
    for start in range(0, max(end, 1), PIECE_BYTES):
        is_last = start + PIECE_BYTES >= end
        stop = end + 1 if is_last else start + PIECE_BYTES
        piece = root.read_ranges([ByteRange(name, start, stop)])[0]
        if len(piece) != min(stop, end) - start:
            longer = start + len(piece) > end
            found = f"more than {end}" if longer else f"at most {start + len(piece)}"
            raise StoreCorrupt(f"{root / name} has {found} bytes, written were {end}")
        yield piece


def _local_pieces(root: Path, name: str, *, most: int | None = None) -> Iterator[bytes]:
    """No link is followed. One byte more than `most` is read, to see that it is not there."""
    where, start = str(root / name), 0
    handle, _ = patiently(lambda: open_plain(root, name), where=where)
    try:
        while most is None or start <= most:
            wanted = PIECE_BYTES if most is None else min(PIECE_BYTES, most + 1 - start)
            piece = patiently(partial(os.pread, handle, wanted, start), where=where)
            if not piece:
                return
            start += len(piece)
            yield piece
    finally:
        os.close(handle)
