"""Spill: what a recorder was given, in one file that is appended to, until the store is assembled.

    file      record record ...
    record    magic "ESR1" | crc32c of the body, u32 | bytes of the body, u64 | body
    body      bytes of the id, u32 | frames, u64 | digest, 32 bytes | id, UTF-8 | coded block

All numbers are little-endian. A record counts when it is whole and its crc32c is right. A file that
is opened again is cut where that is no longer true: what followed was never added.
"""

import errno
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from storage.errors import StoreCorrupt, StoreError
from storage.files.publish import sync_directory
from storage.format.layout import StoreAbout
from storage.write.coded_block import columns_of, decode_block, encode_block, frame_bytes
from storage.write.shard_commit import named_disk_errors
from storage.write.top_k import KeptBlock

MAGIC = b"ESR1"
FRAME = struct.Struct("<4sIQ")  # magic, crc32c, bytes of the body
HEADER = struct.Struct("<IQ32s")  # bytes of the id, frames, digest
SYNC_BYTES = 16 << 20  # a power cut loses no more; a killed process loses nothing
PIECE_BYTES = 1 << 20
BLOCK_FRAMES = 8192  # are decoded at a time


class Spilled(NamedTuple):
    """The record of an utterance: its body begins at `start`, its coded block at `block`."""

    num_frames: int
    digest: str
    crc: int
    start: int
    block: int
    end: int


class Labelled(NamedTuple):
    """An utterance that is added."""

    id: str
    digest: str
    labels: KeptBlock


class Spill:
    """The file of one recorder. `utterances` are those that it holds, in order of arrival."""

    def __init__(self, path: Path, about: StoreAbout) -> None:
        """Open the file at `path`, or begin it.

        Raises:
            StoreError: when it cannot be read or written.
        """
        self._path, self._columns = path, columns_of(about)
        self._frame_bytes = frame_bytes(self._columns)
        self.utterances: dict[str, Spilled] = {}
        self._end = self._unsynced = 0
        self._process = os.getpid()
        with named_disk_errors(path.parent, {}):
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._handle = os.open(path, flags, 0o666)
            sync_directory(path.parent)
            self._scan(os.fstat(self._handle).st_size)
            os.ftruncate(self._handle, self._end)

    def append(self, added: Sequence[Labelled]) -> None:
        """Add utterances whose ids are not there.

        Raises:
            StoreError: when the disk cannot be written, or this is another process.
        """
        if os.getpid() != self._process:  # each would overwrite what the other one appends
            raise StoreError(
                f"{self._path.parents[1]} is recorded by process {self._process}, and this is a "
                "child of it: add in that process"
            )
        bodies = [self._encoded(each) for each in added]
        content = b"".join(FRAME.pack(MAGIC, _crc(body), len(body)) + body for body in bodies)
        with named_disk_errors(self._path.parent, {str(self._path): content}):
            self._write(content)
            for body in bodies:
                self._note(self._end + FRAME.size, _crc(body), len(body), body)
            self._unsynced += len(content)
            if self._unsynced >= SYNC_BYTES:
                self.sync()

    def holds(self, one: Labelled) -> bool:
        """Is this utterance here, with the same content? Only for an id that is here."""
        held, body = self.utterances[one.id], self._encoded(one)
        same_size = held.end - held.start == len(body)
        return same_size and self._read(held.start, len(body)) == body

    def blocks(self, id: str) -> Iterator[KeptBlock]:
        """The soft labels of an utterance, some frames at a time.

        Raises:
            StoreCorrupt: when the disk returns other bytes than were written.
        """
        held = self.utterances[id]
        if self._crc_of(held.start, held.end) != held.crc:
            raise StoreCorrupt(
                f"{self._path}: the record of utterance {id!r} is damaged: record it again, in a "
                "new store"
            )
        for start in range(0, held.num_frames, BLOCK_FRAMES):
            yield decode_block(
                self._columns,
                lambda offset, size: self._read(held.block + offset, size),
                num_frames=held.num_frames,
                start=start,
                stop=min(start + BLOCK_FRAMES, held.num_frames),
            )

    def sync(self) -> None:
        """Wait until all that was added is on the disk."""
        os.fsync(self._handle)
        self._unsynced = 0

    def close(self) -> None:
        """Close the file; `sync` first."""
        os.close(self._handle)

    def _write(self, content: bytes) -> None:
        """At the end, whole or not at all, unless the process is killed."""
        rest, at = memoryview(content), self._end
        try:
            while rest:
                done = os.pwrite(self._handle, rest, at)
                if not done:
                    raise OSError(errno.EIO, "a write reported success and did nothing")
                rest, at = rest[done:], at + done
            if self._read(self._end, len(content)) != content:
                raise OSError(errno.EIO, "other bytes are read than were written")
        except OSError:
            os.ftruncate(self._handle, self._end)
            raise

    def _encoded(self, one: Labelled) -> bytes:
        name = one.id.encode()
        header = HEADER.pack(len(name), len(one.labels.ids_TK), bytes.fromhex(one.digest))
        return header + name + encode_block(self._columns, one.labels)

    def _scan(self, size: int) -> None:
        """Find the whole records; `_end` is after the last one."""
        while self._end + FRAME.size <= size:
            magic, crc, num_bytes = FRAME.unpack(self._read(self._end, FRAME.size))
            start = self._end + FRAME.size
            if magic != MAGIC or not HEADER.size <= num_bytes <= size - start:
                return
            if self._crc_of(start, start + num_bytes) != crc:
                return
            head = self._read(start, min(num_bytes, PIECE_BYTES))
            if not self._note(start, crc, num_bytes, head):
                return

    def _note(self, start: int, crc: int, num_bytes: int, head: bytes) -> bool:
        """Take in a record whose body begins with `head`. Whether it is one of this store."""
        num_id_bytes, num_frames, digest = HEADER.unpack_from(head)
        block = start + HEADER.size + num_id_bytes
        if block + num_frames * self._frame_bytes != start + num_bytes:
            return False
        id = head[HEADER.size : HEADER.size + num_id_bytes].decode()
        end = start + num_bytes
        self.utterances[id] = Spilled(num_frames, digest.hex(), crc, start, block, end)
        self._end = end
        return True

    def _crc_of(self, start: int, end: int) -> int:
        crc = 0
        for at in range(start, end, PIECE_BYTES):
            crc = google_crc32c.extend(crc, self._read(at, min(PIECE_BYTES, end - at)))
        return crc

    def _read(self, start: int, num_bytes: int) -> bytes:
        """Fewer bytes only at the end of the file."""
        content = os.pread(self._handle, num_bytes, start)
        while len(content) < num_bytes:  # the system reads 2 GiB at a time
            more = os.pread(self._handle, num_bytes - len(content), start + len(content))
            if not more:
                break
            content += more
        return content


def _crc(body: bytes) -> int:
    return int(google_crc32c.value(body))
