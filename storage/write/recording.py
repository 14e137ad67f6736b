"""Recording: the folder of a store that is recorded, from its beginning to its seal.

    _stage/recorded.json    the arguments, which a recorder that goes on must repeat
    _stage/recorded         what was added (spill.py)

The rest of the folder is the store, assembled from these files when the recording ends. Until it
is sealed, all of it can be made again.
"""

import errno
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from storage.contents.manifest import holds_other_things
from storage.contents.metadata import read_metadata
from storage.errors import StoreCorrupt, StoreError
from storage.files.fingerprint import canonical_json, fingerprint
from storage.files.object_file import read_whole
from storage.files.publish import make_directories, publish_file, sync_directory
from storage.files.strict_json import parse_json
from storage.format.encoding import UTTERANCE_GROUP
from storage.format.layout import (
    COMMITS,
    StoreAbout,
    StoreUtterance,
    frame_arrays,
    refuse_difference,
)
from storage.format.recorded import ARGUMENTS_NAME
from storage.format.records import GROUP, STAGE
from storage.format.shard_plan import SHARD_FRAMES, fit_shard_frames
from storage.place.local_folder import LocalFolder
from storage.write.claim import CLAIM, claim_new
from storage.write.shard_commit import named_disk_errors
from storage.write.spill import Spill
from storage.write.writer import StoreWriter

SPILL = f"{STAGE}/recorded"
ARGUMENTS = f"{STAGE}/{ARGUMENTS_NAME}"
# Follow from what is added, or from the program's version.
NOT_ARGUMENTS = {
    *("corpus_fingerprint", "shard_frames", "left_out", "origin", "members", "weights"),
    "coding",
}


def make_folder(path: Path) -> None:
    """Make the folder, if it is not there.

    Raises:
        StoreError: when it holds other things, or cannot be made.
    """
    if path.is_dir() and holds_other_things({entry.name for entry in path.iterdir()}):
        raise StoreError(f"{path} holds other things: name a folder that is not there yet")
    with named_disk_errors(path, {}):
        make_directories(path.parent)
        path.mkdir(exist_ok=True)
        sync_directory(path.parent)
        if not path.is_dir():
            raise OSError(errno.EIO, "mkdir reported success and did nothing")


def open_spill(path: Path, about: StoreAbout) -> Spill:
    """What was added to the store at `path` before, which is locked; empty at first.

    Raises:
        StoreMismatch: when it was begun with other arguments, or by other code.
        StoreError: when another writer has begun the store.
    """
    arguments = path / ARGUMENTS
    if not arguments.is_file() and _is_begun(path):
        raise StoreError(
            f"{path} is under construction and is not being recorded: name another place, or "
            f"remove it: rm -r {path}"
        )
    with named_disk_errors(path, {}):
        claim_new(path)
        if arguments.is_file():
            _refuse_other_arguments(path, parse_json(read_whole(path, ARGUMENTS)), about)
        else:
            publish_file(arguments, canonical_json(_arguments(about)).encode())
    return Spill(path / SPILL, about)


def refuse_other_store(path: Path, found: StoreAbout, wanted: StoreAbout) -> None:
    """Make sure that the sealed store at `path` is one of these arguments.

    Raises:
        StoreMismatch: field by field.
    """
    _refuse_other_arguments(path, _arguments(found), wanted)


def assemble(path: Path, about: StoreAbout, spill: Spill, order: Sequence[str]) -> str:
    """Make the store of what was added, in this order. Returns its digest.

    May be done again after a kill. Shards that are done stay, if nothing was added meanwhile.

    Raises:
        StoreError: when the disk cannot be written.
        StoreCorrupt: when it returns other bytes than were written.
    """
    held = {id: spill.utterances[id] for id in order}
    rows = [
        StoreUtterance(id=id, num_frames=each.num_frames, digest=each.digest)
        for id, each in held.items()
    ]
    whole = _whole_about(about, rows)
    if not _is_of(path, whole, rows):
        _discard(path, about)
    writer = StoreWriter.create(path, whole, utterances=rows)
    for shard in writer.missing_shards():
        ids = (rows[row].id for row in writer.shard(shard))
        writer.write_blocks(shard, (block for id in ids for block in spill.blocks(id)))
    return writer.seal()


def _whole_about(about: StoreAbout, rows: Sequence[StoreUtterance]) -> StoreAbout:
    lengths, size = [row.num_frames for row in rows], about.chunk_frames
    content = sorted([row.id, row.num_frames, row.digest] for row in rows)
    return replace(
        about,
        corpus_fingerprint=fingerprint(content),
        shard_frames=fit_shard_frames(lengths, wanted=SHARD_FRAMES, chunk_frames=size),
    )


def _is_begun(path: Path) -> bool:
    """Has a StoreWriter or a copy begun something here?"""
    stage = path / STAGE
    names = {entry.name for entry in stage.iterdir()} if stage.is_dir() else set()
    # The claim, also while it is staged, and unfinished files.
    known = (Path(CLAIM).name, CLAIM.replace("/", "."), Path(SPILL).name, ".")
    return (path / GROUP).exists() or not all(name.startswith(known) for name in names)


def _is_of(path: Path, about: StoreAbout, rows: Sequence[StoreUtterance]) -> bool:
    """Is a store assembled here that has the same metadata?"""
    if not (path / GROUP).is_file():
        return False
    try:
        found = read_metadata(LocalFolder(path))
    except StoreCorrupt:
        return False
    return found.about == about and list(found.utterances) == list(rows)


def _discard(path: Path, about: StoreAbout) -> None:
    """Remove what was assembled, and no other file."""
    names = {GROUP, COMMITS, UTTERANCE_GROUP, *(array.name for array in frame_arrays(about))}
    kept = {path / CLAIM, path / SPILL, path / ARGUMENTS}
    made = [path / name for name in names] + [*path.glob("manifest-*.json")]
    staged = [entry for entry in (path / STAGE).iterdir() if entry not in kept]
    with named_disk_errors(path, {}):
        for entry in (*made, *staged):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)
        sync_directory(path)


def _arguments(about: StoreAbout) -> dict[str, Any]:
    """The fields that a user gives, as JSON has them."""
    fields = {name: value for name, value in asdict(about).items() if name not in NOT_ARGUMENTS}
    arguments: dict[str, Any] = parse_json(canonical_json(fields).encode())
    return arguments


def _refuse_other_arguments(path: Path, found: dict[str, Any], wanted: StoreAbout) -> None:
    cure = f"give the same arguments, or another path, or remove it: rm -r {path}"
    refuse_difference(str(path), found, _arguments(wanted), cure=cure)
