"""Viterbi without a beam, in float64, over the arrays of a graph: the cost of its best path.

Shapes: S states, T frames, C classes.
"""

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.openfst_file import FstArrays

FloatArray = NDArray[np.floating]


def best_cost(fst: FstArrays, loglike_TC: FloatArray) -> float:
    """Graph cost minus log-likelihood of the best path from the start to a final state, in nats.

    Input label p + 1 reads class p, label 0 no frame. inf if no path of T frames ends.
    """
    sources = np.repeat(np.arange(len(fst.count_S)), fst.count_S)
    spans = zip(fst.first_S, fst.count_S, strict=True)
    arcs = np.concatenate([fst.arcs_A[first : first + count] for first, count in spans])
    emits = arcs["input"] > 0
    cost_S = np.full(len(fst.final_S), np.inf)
    cost_S[fst.start] = 0
    cost_S = _through_epsilons(cost_S, arcs[~emits], sources[~emits])
    classes, costs = arcs["input"][emits] - 1, arcs["cost"][emits].astype(np.float64)
    for loglike_C in loglike_TC.astype(np.float64):
        after_S = np.full_like(cost_S, np.inf)
        arrivals = cost_S[sources[emits]] + costs - loglike_C[classes]
        np.minimum.at(after_S, arcs["next"][emits], arrivals)
        cost_S = _through_epsilons(after_S, arcs[~emits], sources[~emits])
    return float((cost_S + fst.final_S).min())


def _through_epsilons(
    cost_S: NDArray[np.float64], arcs: NDArray[np.void], sources: NDArray[np.int64]
) -> NDArray[np.float64]:
    while True:
        closer_S = cost_S.copy()
        np.minimum.at(closer_S, arcs["next"], cost_S[sources] + arcs["cost"])
        if np.array_equal(closer_S, cost_S):
            return cost_S
        cost_S = closer_S
