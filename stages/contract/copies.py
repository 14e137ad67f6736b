"""Copies of utterances in a corpus: copies.json, which the corpus stage writes and others read.

    {"train": [{"name": "noisy", "is_time_warped": false, "original_of": {"noisy-utt1": "utt1"}}]}

A corpus without copies has no such file. Ids mean nothing: only this file tells what a copy is.
"""

from collections.abc import Iterable
from pathlib import Path

from stages.contract.description import read_description
from stages.contract.settings import Settings
from storage.files.publish import publish_file

COPIES_FILE = "copies.json"
# A fourth split: the originals of dev, where a copy stands for them. Models that are trained on
# originals are chosen on it; nothing else reads it.
DEV_ORIGINALS = "dev-originals"


class CopyGroup(Settings):
    """The copies that one entry of corpus.copies made in a split: id -> id of the original.

    Where time is not warped, frame t of a copy is frame t of its original.
    """

    name: str
    is_time_warped: bool
    original_of: dict[str, str]


class _CopiesFile(Settings):
    train: tuple[CopyGroup, ...] = ()
    dev: tuple[CopyGroup, ...] = ()
    test: tuple[CopyGroup, ...] = ()


def write_copies(directory: Path, groups: dict[str, tuple[CopyGroup, ...]]) -> None:
    """Write copies.json of a corpus directory; `groups` by split."""
    content = _CopiesFile.model_validate(groups).model_dump_json(indent=1)
    publish_file(directory / COPIES_FILE, content.encode() + b"\n")


def read_copies(directory: Path, split: str) -> tuple[CopyGroup, ...]:
    """The copies in a split of a corpus directory; none where it has no copies.json.

    Raises:
        BadInput: where the file is not what was written.
    """
    path = directory / COPIES_FILE
    if not path.is_file():
        return ()
    advice = "remove the corpus directory and run 'essence corpus' again"
    content = read_description(_CopiesFile, path, advice=advice)
    return {"train": content.train, "dev": content.dev, "test": content.test}[split]


def copy_ids(groups: Iterable[CopyGroup]) -> frozenset[str]:
    """Ids of all copies."""
    return frozenset(id for group in groups for id in group.original_of)


def originals_in_time(groups: Iterable[CopyGroup]) -> dict[str, str]:
    """Id -> id of the original, of the copies that are their originals frame by frame."""
    return {
        id: original
        for group in groups
        if not group.is_time_warped
        for id, original in group.original_of.items()
    }
