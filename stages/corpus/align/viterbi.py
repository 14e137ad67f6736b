"""Viterbi search along a transcript: log-likelihoods -> the best state of every frame.

Shapes: T frames, S states, K states that may come before a state.
"""

import numpy as np
from numpy.typing import NDArray

from stages.corpus.align.transcript_hmm import TranscriptHmm


def best_states(hmm: TranscriptHmm, loglike_TS: NDArray[np.floating]) -> NDArray[np.int64]:
    """The state of every frame (T,) on the best path; T is at least `hmm.min_frames`.

    Of equally good states before another one, that which is listed first in `before_KS` is taken.
    """
    num_frames, num_states = loglike_TS.shape
    assert num_frames >= hmm.min_frames
    # The last column is never reached: before_KS is filled up with its number.
    score_TS = np.full((num_frames, num_states + 1), -np.inf)
    score_TS[0, :-1] = np.where(hmm.may_start_S, loglike_TS[0], -np.inf)
    for frame in range(1, num_frames):
        best_S = score_TS[frame - 1][hmm.before_KS].max(axis=0)
        np.add(best_S, loglike_TS[frame], out=score_TS[frame, :-1])
    state_T = np.empty(num_frames, np.int64)
    state_T[-1] = np.argmax(np.where(hmm.may_end_S, score_TS[-1, :-1], -np.inf))
    for frame in reversed(range(1, num_frames)):
        before_K = hmm.before_KS[:, state_T[frame]]
        state_T[frame - 1] = before_K[np.argmax(score_TS[frame - 1, before_K])]
    return state_T
