"""Paths along a transcript: the best one (forced alignment), and the posterior of every class.

With scaled log-likelihoods l_t(c) and a graph whose arcs a emit class c(a) at cost w(a):

    forward    alpha_t(s) = log sum over arcs into s  of exp(alpha_{t-1}(source) - w + l_t(c))
    backward   beta_t(s)  = log sum over arcs out of s of exp(beta_{t+1}(target) - w + l_{t+1}(c))
    posterior  gamma_t(c) = sum over arcs that emit c of exp(alpha_{t-1} - w + l_t + beta_t - Z)

(Rabiner 1989, section III). The best path replaces the sum by the maximum. All in float64.

Shapes: T frames, C classes, S states, A arcs.
"""

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.transcript_graph import TranscriptGraph

Float = NDArray[np.float64]


def best_classes(
    graph: TranscriptGraph, loglike_TC: NDArray[np.floating]
) -> NDArray[np.int32] | None:
    """The class of every frame (T,) on the best path; None where no path has T frames."""
    num_frames, arcs = len(loglike_TC), np.arange(len(graph.source_A))
    best_S = _start(graph)
    arc_into_TS = np.zeros((num_frames, graph.num_states), np.int32)
    entered, first = _entered_states(graph)
    for frame in range(num_frames):
        score_A = best_S[graph.source_A] + _step(graph, loglike_TC, frame)
        best_S = np.full(graph.num_states, -np.inf)
        best_S[entered] = np.maximum.reduceat(score_A, first)
        # Backwards, so that of equal arcs the first one remains: ties do not depend on numpy.
        winners = arcs[score_A == best_S[graph.target_A]][::-1]
        arc_into_TS[frame, graph.target_A[winners]] = winners
    final_S = best_S - graph.final_S
    state = int(np.argmax(final_S))
    if not np.isfinite(final_S[state]):
        return None
    classes_T = np.empty(num_frames, np.int32)
    for frame in reversed(range(num_frames)):
        arc = arc_into_TS[frame, state]
        classes_T[frame], state = graph.class_A[arc], int(graph.source_A[arc])
    return classes_T


def class_posteriors(graph: TranscriptGraph, loglike_TC: NDArray[np.floating]) -> Float | None:
    """Probability of every class in every frame (T, C), each row of sum 1.

    None where no path has T frames.
    """
    num_frames = len(loglike_TC)
    alpha_TS = _forward(graph, loglike_TC)
    total = _log_sum(alpha_TS[-1] - graph.final_S)
    if not np.isfinite(total):
        return None
    gamma_TC = np.zeros(loglike_TC.shape)
    beta_S = -graph.final_S
    by_source_A = np.argsort(graph.source_A, kind="stable")
    left, first = np.unique(graph.source_A[by_source_A], return_index=True)
    for frame in reversed(range(num_frames)):
        after_A = beta_S[graph.target_A] + _step(graph, loglike_TC, frame)
        occupied_A = np.exp(alpha_TS[frame][graph.source_A] + after_A - total)
        np.add.at(gamma_TC[frame], graph.class_A, occupied_A)
        beta_S = np.full(graph.num_states, -np.inf)
        beta_S[left] = _log_sums(after_A[by_source_A], first)
    gamma_TC /= gamma_TC.sum(axis=1, keepdims=True)  # rounding only: the shares sum to one
    return gamma_TC


def _forward(graph: TranscriptGraph, loglike_TC: NDArray[np.floating]) -> Float:
    """alpha of every state before the first frame and after each: (T + 1, S)."""
    alpha_TS = np.full((len(loglike_TC) + 1, graph.num_states), -np.inf)
    alpha_TS[0] = _start(graph)
    entered, first = _entered_states(graph)
    for frame in range(len(loglike_TC)):
        score_A = alpha_TS[frame][graph.source_A] + _step(graph, loglike_TC, frame)
        alpha_TS[frame + 1, entered] = _log_sums(score_A, first)
    return alpha_TS


def _start(graph: TranscriptGraph) -> Float:
    start_S = np.full(graph.num_states, -np.inf)
    start_S[0] = 0.0
    return start_S


def _step(graph: TranscriptGraph, loglike_TC: NDArray[np.floating], frame: int) -> Float:
    """What each arc adds to a path that takes it in this frame."""
    step_A: Float = loglike_TC[frame, graph.class_A].astype(np.float64) - graph.cost_A
    return step_A


def _entered_states(graph: TranscriptGraph) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """States with an arc into them, and the first such arc: arcs are sorted by target."""
    return np.unique(graph.target_A, return_index=True)


def _log_sums(score_A: Float, first: NDArray[np.int64]) -> Float:
    """log sum exp over each run of arcs that begins at `first`."""
    highest = np.maximum.reduceat(score_A, first)
    # -inf - -inf is nan: a state that no path reaches keeps -inf.
    shift = np.where(np.isfinite(highest), highest, 0.0)
    lengths = np.diff(np.append(first, len(score_A)))
    sums = np.add.reduceat(np.exp(score_A - np.repeat(shift, lengths)), first)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(sums) + shift)


def _log_sum(score_S: Float) -> float:
    return float(_log_sums(score_S, np.zeros(1, np.int64))[0])
