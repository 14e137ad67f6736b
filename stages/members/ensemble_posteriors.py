"""Ensemble posteriors: several members' log-posteriors -> one distribution, in float32.

    arithmetic   ln sum_n w_n p_n                  mean of probabilities
    geometric    sum_n w_n ln p_n, renormalised    mean of log-probabilities

Members are added one after the other, so that one is in memory at a time. The order changes
the last bits: callers keep one order, that of the members' fingerprints.

Shapes: T frames, C classes, N members.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput
from stages.members.posterior_gate import MAX_LOG_SUM

Combine = Literal["arithmetic", "geometric"]
BLOCK_VALUES = 1 << 18  # classes times frames worked on at once: 1 MiB stays in the cache
SMALLEST_PROB = np.finfo(np.float32).tiny  # e^-87.3: keeps the logarithm of a mean finite
LOG_FLOOR = np.log(SMALLEST_PROB)  # -87.3 nats: 9000 such classes have 1e-34 of the mass


def average_log_posteriors(
    members: Sequence[NDArray[np.float32]], weights: Sequence[float], combine: Combine
) -> NDArray[np.float32]:
    """The mean of N members' (T, C) log-posteriors, weighted; weights need not sum to one.

    Raises:
        BadInput: if there are no members, or not one weight for each.
    """
    shares = normalise_weights(weights, len(members))
    total_TC = np.zeros(members[0].shape, np.float32)
    for logp_TC, weight in zip(members, shares, strict=True):
        add_member(total_TC, logp_TC, weight=weight, combine=combine)
    return finish_average(total_TC, combine=combine)


def normalise_weights(weights: Sequence[float] | None, num_members: int) -> tuple[float, ...]:
    """Weights that sum to one; None gives all the same weight.

    Raises:
        BadInput: if there is no member, or not one positive weight for each.
    """
    if num_members == 0:
        raise BadInput("the ensemble has no members: name at least one")
    if weights is None:
        weights = (1.0,) * num_members
    if len(weights) != num_members or not all(weight > 0 for weight in weights):
        raise BadInput(
            f"found weights {tuple(weights)} for {num_members} members: "
            "give one positive weight for each (teacher.weights)"
        )
    return tuple(weight / sum(weights) for weight in weights)


def add_member(
    total_TC: NDArray[np.float32],
    logp_TC: NDArray[np.float32],
    *,
    weight: float,
    combine: Combine,
) -> bool:
    """Add one member to `total_TC` in place. Begin with zeros, end with `finish_average`.

    Returns whether each row is a distribution beyond doubt: finite, and its probabilities, which
    are computed here anyway, sum to one within half the gate's bound. If not, the gate decides.
    """
    is_sound = True
    step = max(1, BLOCK_VALUES // max(1, total_TC.shape[1]))
    scratch_RC = np.empty((min(step, len(total_TC)), total_TC.shape[1]), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # `is_sound` reports what these would
        for start in range(0, len(total_TC), step):
            logp_RC = logp_TC[start : start + step]
            prob_RC = np.exp(logp_RC, out=scratch_RC[: len(logp_RC)])
            off_R = np.abs(prob_RC.sum(axis=1) - 1)
            is_sound &= bool(off_R.max() < MAX_LOG_SUM / 2 and logp_RC.min() > -np.inf)
            values_RC = prob_RC if combine == "arithmetic" else logp_RC.copy()
            values_RC *= np.float32(weight)
            total_TC[start : start + step] += values_RC
    return is_sound


def raise_to_floor(logp_TC: NDArray[np.float32], *, floor: float) -> NDArray[np.float32]:
    """Log-posteriors without values below `floor`; NaN stays NaN. -inf changes nothing.

    A mean of logarithms needs a floor: one member that excludes a class (-inf) would exclude it
    for all of them.
    """
    return logp_TC if floor == -np.inf else np.maximum(logp_TC, np.float32(floor))


def finish_average(total_TC: NDArray[np.float32], *, combine: Combine) -> NDArray[np.float32]:
    """Log-posteriors from the sum of `add_member`; works in place."""
    if combine == "geometric":
        return normalise_log(total_TC)
    np.maximum(total_TC, SMALLEST_PROB, out=total_TC)
    return np.log(total_TC, out=total_TC)


def restore_small_means(
    mean_TC: NDArray[np.float32],
    members: Sequence[NDArray[np.float32]],
    weights: Sequence[float],
) -> None:
    """Replace arithmetic means that `finish_average` raised to LOG_FLOOR by exact ones, in place.

    They underflow as probabilities, so they are computed from logarithms.
    """
    frames, classes = np.nonzero(mean_TC <= LOG_FLOOR)
    terms = [
        member[frames, classes] + np.float32(np.log(share))
        for member, share in zip(members, normalise_weights(weights, len(members)), strict=True)
    ]
    mean_TC[frames, classes] = np.logaddexp.reduce(terms)


def average_without_floor(
    members: Sequence[NDArray[np.float32]], weights: Sequence[float], combine: Combine
) -> NDArray[np.float32]:
    """`average_log_posteriors` for decoding: without LOG_FLOOR. A single member stays as it is."""
    if len(members) == 1:
        return members[0]
    mean_TC = average_log_posteriors(members, weights, combine)
    if combine == "arithmetic":
        restore_small_means(mean_TC, members, weights)
    return mean_TC


def soften(logp_TC: NDArray[np.float32], temperature: float) -> NDArray[np.float32]:
    """Posteriors at a temperature: p^(1/temperature), renormalised. 1 changes nothing."""
    if temperature == 1:
        return logp_TC
    return normalise_log(logp_TC / np.float32(temperature))


def normalise_log(values_TC: NDArray[np.float32]) -> NDArray[np.float32]:
    """Subtract each frame's log of the sum of exponentials, in place; the sum is in float64."""
    if values_TC.size == 0:
        return values_TC
    values_TC -= values_TC.max(axis=1, keepdims=True)
    sums_T1 = np.exp(values_TC).sum(axis=1, keepdims=True, dtype=np.float64)
    values_TC -= np.log(sums_T1).astype(np.float32)
    return values_TC
