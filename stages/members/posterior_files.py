"""Posterior files: the archives of a directory of posteriors, by split, and their identity.

    DIR/train.scp or train.ark
    DIR/dev.scp or dev.ark
    DIR/test.scp or test.ark       may be missing

posterior_archive.py reads what they hold.
"""

from pathlib import Path
from typing import Literal

from stages.acoustic.kaldi.tables import read_scp
from stages.contract.errors import BadInput
from storage.files.fingerprint import fingerprint, sampled_digest

PosteriorsAre = Literal["log", "prob"]
SPLITS = ("train", "dev", "test")


def posterior_file(directory: Path, split: str) -> Path | None:
    """The scp of a split, or its archive if it has none; None if it has neither."""
    files = (directory / f"{split}.scp", directory / f"{split}.ark")
    return next((path for path in files if path.is_file()), None)


def content_digest(path: Path) -> str:
    """Identity of what an scp or archive holds, cheap enough for every start.

    Where the archives lie does not count. An edit that keeps an archive's size may go unseen.
    """
    if path.suffix == ".ark":
        return sampled_digest(path)
    located = read_scp(path)
    archives = list(dict.fromkeys(location.path for location in located.values()))
    number_of = {archive: number for number, archive in enumerate(archives)}
    return fingerprint(
        {
            "archives": [sampled_digest(archive) for archive in archives],
            "rows": [[id, number_of[at.path], at.offset] for id, at in located.items()],
        }
    )


def posteriors_fingerprint(directory: Path) -> str:
    """Identity of the posteriors of every split that is there.

    Raises:
        BadInput: if the directory is missing, or an scp is not what it should be.
    """
    if not directory.is_dir():
        raise BadInput(
            f"{directory} is no directory: let a member's `posteriors` name the one "
            "that holds train.scp and dev.scp (or train.ark and dev.ark)"
        )
    files = {split: posterior_file(directory, split) for split in SPLITS}
    return fingerprint({split: content_digest(path) for split, path in files.items() if path})
