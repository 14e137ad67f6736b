"""Posterior gate: what a member gives is a distribution over the classes, or an error names it.

It comes before every selection of the best classes: a NaN would rank first there.

Shapes: T frames, C classes.
"""

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadPosterior

MAX_LOG_SUM = 1e-3  # |ln sum of probabilities| of a frame, nats


def check_posteriors(
    logp_TC: NDArray[np.float32],
    *,
    num_frames: int,
    num_classes: int,
    member: str,
    utterance: str,
    first_frame: int = 0,
) -> None:
    """Shape, finiteness and normalisation of log-posteriors, from `first_frame` of an utterance on.

    Raises:
        BadPosterior: naming member, utterance and the first frame that is wrong.
    """
    where = f"member {member}, utterance {utterance!r}"
    if logp_TC.shape != (num_frames, num_classes):
        raise BadPosterior(
            f"{where}: posteriors of shape {logp_TC.shape}, wanted {(num_frames, num_classes)}: "
            "was the model trained on this corpus?"
        )
    finite_T = np.isfinite(logp_TC).all(axis=1)
    if not finite_T.all():
        frame = int(np.argmin(finite_T))
        raise BadPosterior(
            f"{where}, frame {first_frame + frame}: {_not_finite(logp_TC[frame])}: "
            "train the member again, or leave it out"
        )
    with np.errstate(over="ignore", divide="ignore"):  # a sum of inf or 0 is reported below
        log_sum_T = np.log(np.exp(logp_TC, dtype=np.float64).sum(axis=1))
    wrong_T = np.abs(log_sum_T) > MAX_LOG_SUM
    if wrong_T.any():
        frame = int(np.argmax(wrong_T))
        raise BadPosterior(
            f"{where}, frame {first_frame + frame}: the probabilities sum to "
            f"{np.exp(log_sum_T[frame]):.6g}, wanted 1: "
            "does the member give log-probabilities (natural log)?"
        )


def _not_finite(logp_C: NDArray[np.float32]) -> str:
    at = int(np.argmin(np.isfinite(logp_C)))
    return f"the log-probability of class {at} is {logp_C[at]}"
