"""Files of a Kaldi folder: alignments of a split, tables of untranscribed speech."""

import os
from pathlib import Path

from stages.contract.errors import BadInput

UNLABELLED_FILES = ("feats.scp", "utt2spk")  # what a folder of untranscribed speech needs


def alignment_files(directory: Path) -> list[Path]:
    """The files with a split's alignments: ali.scp if it exists, otherwise all archives."""
    scp, archive = directory / "ali.scp", directory / "ali.ark"
    if os.path.lexists(scp):
        return [scp]
    return ([archive] if os.path.lexists(archive) else []) + sorted(directory.glob("ali*.gz"))


def refuse_missing_tables(directory: Path) -> None:
    """Check that a folder of untranscribed speech has the tables that it needs.

    Raises:
        BadInput: naming the first that is missing.
    """
    for name in UNLABELLED_FILES:
        if not (directory / name).is_file():
            raise BadInput(
                f"{directory / name} is missing: a folder of corpus.kaldi.unlabelled needs "
                f"{' and '.join(UNLABELLED_FILES)}; its name is relative to corpus.path"
            )
