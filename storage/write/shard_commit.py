"""write_shard: one shard of a store, encoded and committed. It needs no utterance table.

Any number of processes, on any machines that see the same folder, may write shards of one store.
The first commit of a shard counts, and other writers must have the same bytes.
"""

import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.errors import StoreError
from storage.files.object_file import read_whole
from storage.format.layout import StoreAbout, commit_name
from storage.format.records import Records, decode_records, encode_records, record_of
from storage.format.shard_object import chunk_checksums
from storage.write.block_check import checked
from storage.write.commit import finish_commit, link_record, stage
from storage.write.shard_encoder import encode_shard
from storage.write.top_k import KeptBlock


def write_shard(
    root: Path, about: StoreAbout, shard: int, blocks: Iterable[KeptBlock], *, num_frames: int
) -> None:
    """Encode and commit one shard of the store at `root`, which has its metadata already.

    Raises:
        StoreError: when the blocks do not fit, another writer has committed something else, or
            the disk cannot be written.
    """
    sound = checked(about, blocks, num_frames=num_frames, where=f"shard {shard}")
    commit_objects(root, about, shard, encode_shard(about, sound, shard=shard))


def commit_objects(root: Path, about: StoreAbout, shard: int, objects: dict[str, bytes]) -> None:
    """Commit one shard whose objects are encoded already. Raises as `write_shard`."""
    num_chunks = about.shard_frames // about.chunk_frames
    records = {
        name: record_of(content, tuple(chunk_checksums(content, num_chunks)))
        for name, content in objects.items()
    }
    with named_disk_errors(root, objects):
        _commit(root, about, shard, objects, records)


def is_committed(root: Path, shard: int) -> bool:
    """Is this shard committed? If so, it is in its place afterwards.

    A writer that is killed between commit and installation leaves the installation to the next one.

    Raises:
        StoreError: when it is damaged, or the disk cannot be written.
    """
    name = commit_name(shard)
    if not (root / name).is_file():
        return False
    records = decode_records(read_whole(root, name), where=str(root / name))
    with named_disk_errors(root, {}):
        finish_commit(root, name, records)
    return True


def _commit(
    root: Path, about: StoreAbout, shard: int, objects: dict[str, bytes], records: Records
) -> None:
    name, version = commit_name(shard), about.coding.format_version
    ours = encode_records(records, version=version, shard=shard)
    place = root / name
    if not place.is_file():
        try:
            stage(root, objects, records)
            link_record(root, name, ours)
        except FileNotFoundError:
            # Another writer has finished the store and cleared the stage meanwhile.
            if not place.is_file():
                raise
    theirs = read_whole(root, name)
    if theirs != ours:
        differing = [
            object_name
            for object_name, record in decode_records(theirs, where=str(place)).items()
            if records.get(object_name) != record
        ]
        raise StoreError(
            f"{root}: shard {shard} was committed by another writer with other content "
            f"({', '.join(differing[:3])}): do both use the same models and device? "
            "Remove the store and run one of them"
        )
    finish_commit(root, name, records)


@contextmanager
def named_disk_errors(path: Path, objects: dict[str, bytes]) -> Iterator[None]:
    """Raise the system's errors as StoreError, with needed and free bytes."""
    try:
        yield
    except OSError as cause:
        needed = sum(map(len, objects.values()))
        free = _free_bytes(path)
        raise StoreError(
            f"{path} cannot be written ({cause.strerror or cause}): {needed} bytes are needed, "
            f"{free} are free: make room, or repair the disk; the same command continues from here"
        ) from cause


def _free_bytes(path: Path) -> int:
    try:
        return shutil.disk_usage(path if path.is_dir() else path.parent).free
    except OSError:  # the disk is gone
        return 0
