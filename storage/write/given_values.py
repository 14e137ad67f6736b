"""Given values: what a user calls the output of a model -> its K best, as soft labels.

Probabilities of a frame that do not sum to 1 are refused, never scaled; only scores that are given
as "logits" are normalised.

Shapes: T frames, C classes.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from storage.errors import StoreError
from storage.format.layout import StoreAbout
from storage.format.value_code import PROB_OF_CODE, encode_logp, encode_prob
from storage.write.block_check import MAX_MASS_ERROR
from storage.write.given_batch import Given
from storage.write.spill import Labelled
from storage.write.top_k import KeptBlock, keep_top_k

Values = Literal["log_probs", "probs", "logits"]


def labelled(given: Given, about: StoreAbout, values: Values) -> Labelled:
    """The soft labels of an utterance.

    Raises:
        StoreError: naming utterance and frame, when the values are no distribution.
    """
    try:
        logp_TC = _as_logp(given.values_TC, values)
        with np.errstate(over="ignore"):  # of what is no logarithm of a probability
            kept = keep_top_k(
                logp_TC, about.kept, tiers=about.tiers, temperatures=about.temperatures
            )
    except StoreError as cause:
        raise StoreError(f"utterance {given.id!r}, {cause}") from cause
    _refuse_no_distribution(kept, given.id)
    return Labelled(given.id, given.digest, kept)


def refuse_unknown(values: str) -> None:
    """Make sure that `values` is one of the three kinds.

    Raises:
        StoreError: when it is not.
    """
    if values not in get_args(Values):
        known = ", ".join(map(repr, get_args(Values)))
        raise StoreError(f"values is {values!r}: choose one of {known}")


def _as_logp(given_TC: NDArray[np.generic], values: Values) -> NDArray[np.float32]:
    """Log-probabilities in nats."""
    values_TC = np.asarray(given_TC, np.float32)
    if values == "log_probs":
        return values_TC
    if values == "probs":
        if (values_TC < 0).any():
            frame = int(np.argmax((values_TC < 0).any(axis=1)))
            raise StoreError(f"frame {frame}: a probability is negative")
        with np.errstate(divide="ignore"):
            return np.log(values_TC)
    with np.errstate(invalid="ignore"):  # inf - inf is NaN, which is refused with its frame
        z_TC = values_TC - values_TC.max(axis=1, keepdims=True)
    return np.asarray(z_TC - np.log(np.exp(z_TC).sum(axis=1, keepdims=True)), np.float32)


def _refuse_no_distribution(kept: KeptBlock, id: str) -> None:
    """Check each frame, and what is decoded of it later, as the store's writer does."""
    with np.errstate(over="ignore"):
        exact_T = np.exp(kept.logp_TK).sum(axis=1) + kept.tail_TG[:, -1]
    coded_T = PROB_OF_CODE[encode_logp(kept.logp_TK)].sum(axis=1)
    coded_T += PROB_OF_CODE[encode_prob(kept.tail_TG[:, -1])]
    for mass_T in (exact_T, coded_T):
        wrong_T: NDArray[np.bool_] = ~(np.abs(mass_T - 1) <= MAX_MASS_ERROR)
        if wrong_T.any():
            frame = int(np.argmax(wrong_T))
            raise StoreError(
                f"utterance {id!r}, frame {frame}: the probabilities of all classes sum to "
                f"{mass_T[frame]:.4g}, wanted 1: are these natural logarithms of probabilities? "
                'Otherwise record with values="probs" or values="logits"'
            )
