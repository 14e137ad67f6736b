"""Posterior archive: a directory of Kaldi archives -> log-posteriors by utterance id.

    DIR/train.scp or train.ark     one matrix an utterance: a row for each row of the corpus
    DIR/dev.scp or dev.ark         file, a column for each class
    DIR/test.scp or test.ark       may be missing: then its members are not evaluated

Probabilities of zero are legal here. LOG_ZERO stands for their logarithm, since the gate and the
decoder need finite numbers; all other values are read as they were written.

Shapes: T frames, C classes.
"""

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.archive import locate_matrices
from stages.acoustic.kaldi.objects import Location, read_matrix
from stages.acoustic.kaldi.tables import read_scp
from stages.contract.errors import BadInput
from stages.contract.settings import LengthDifference
from storage.files.fingerprint import fingerprint, sampled_digest

PosteriorsAre = Literal["log", "prob"]

SPLITS = ("train", "dev", "test")
LOG_ZERO = np.float32(-1e4)  # nats: outside any beam, even at an acoustic scale of 0.01


def posterior_file(directory: Path, split: str) -> Path | None:
    """The scp of a split, or its archive if it has none; None if it has neither."""
    files = (directory / f"{split}.scp", directory / f"{split}.ark")
    return next((path for path in files if path.is_file()), None)


def locate_posteriors(path: Path) -> dict[str, Location]:
    """Utterance id -> place of its matrix.

    Raises:
        BadInput: if the scp or archive is damaged, or an id comes twice.
    """
    return read_scp(path) if path.suffix == ".scp" else locate_matrices(path)


def read_log_posteriors(location: Location, *, given_as: PosteriorsAre) -> NDArray[np.float32]:
    """Natural-log posteriors (T, C), none of them below LOG_ZERO. They are not checked here.

    Raises:
        BadInput: if no matrix can be read.
    """
    values_TC = read_matrix(location)
    if given_as == "prob":
        with np.errstate(divide="ignore", invalid="ignore"):  # the gate names what becomes NaN
            values_TC = np.log(values_TC)
    return np.maximum(values_TC, LOG_ZERO)  # a NaN stays one


def fit_frames(
    logp_TC: NDArray[np.float32], *, num_frames: int, allowed: LengthDifference
) -> NDArray[np.float32]:
    """`num_frames` rows, if they differ by at most `allowed`: the last is cut or repeated.

    The corpus decides: its features and labels have one length already. Any other number of rows
    is returned as it is, for the gate to refuse.
    """
    found = len(logp_TC)
    if found in (0, num_frames) or abs(found - num_frames) > allowed:
        return logp_TC
    return logp_TC[np.minimum(np.arange(num_frames), found - 1)]


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
