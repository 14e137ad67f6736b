"""Posterior archive: a directory of Kaldi archives -> log-posteriors by utterance id.

    DIR/train.scp or train.ark     one matrix an utterance: a row for each row of the corpus
    DIR/dev.scp or dev.ark         file, a column for each class
    DIR/test.scp or test.ark       may be missing: then its members are not evaluated

Probabilities of zero are legal here. LOG_ZERO stands for their logarithm, since the gate and the
decoder need finite numbers; all other values are read as they were written.

Shapes: T frames, C classes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.archive import locate_matrices
from stages.acoustic.kaldi.location import Location
from stages.acoustic.kaldi.objects import read_matrix
from stages.acoustic.kaldi.tables import read_scp
from stages.contract.settings import LengthDifference
from stages.members.posterior_files import PosteriorsAre

LOG_ZERO = np.float32(-1e4)  # nats: outside any beam, even at an acoustic scale of 0.01


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
