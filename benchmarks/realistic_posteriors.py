"""Posteriors like those of acoustic models, from a seed: peaked, long-tailed, smooth in time.

And like those of a CTC model: the same in short spikes, and between them runs in which the blank,
class 0, has nearly all probability.

A hidden Markov chain dwells in its states; a network's last layer is a product of a hidden
vector and an embedding of each class, so that a class is always confused with the same few
others; the hidden vector follows the state smoothly, with noise that lasts some frames.

Shapes: T frames, C classes, D hidden dimensions.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

HIDDEN_DIM = 48
MEAN_DWELL_FRAMES = 3.0  # frames of 30 ms in one tied state
BLOCK_FRAMES = 1024
NOISE_MEMORY = 0.7  # share of the previous frame's noise
NOISE_SCALE = 0.8  # relative to hidden vectors of length one
SHARPNESS = 9.0  # nats between a class and an orthogonal one, without noise
MEAN_BLANK_FRAMES = 8  # of a run
SPIKE_FRAMES = (1, 2, 3)
BLANK_LOG_ODDS, SPIKE_LOG_ODDS = 7.0, -3.0  # of the blank, nats: p = 0.999 and 0.05


def realistic_posteriors(
    num_frames: int, num_classes: int, *, seed: int
) -> Iterator[NDArray[np.float32]]:
    """Blocks (T, C) of float32 log-posteriors, `num_frames` rows in all."""
    rng = np.random.default_rng(seed)
    embedding_CD = rng.normal(size=(num_classes, HIDDEN_DIM)).astype(np.float32)
    embedding_CD /= np.linalg.norm(embedding_CD, axis=1, keepdims=True)
    hidden_TD = _hidden(num_frames, embedding_CD, rng)
    for start in range(0, num_frames, BLOCK_FRAMES):
        logits_TC = SHARPNESS * hidden_TD[start : start + BLOCK_FRAMES] @ embedding_CD.T
        logits_TC -= logits_TC.max(axis=1, keepdims=True)
        logits_TC -= np.log(np.exp(logits_TC).sum(axis=1, keepdims=True))
        yield logits_TC


def ctc_posteriors(
    num_frames: int, num_classes: int, *, seed: int
) -> Iterator[NDArray[np.float32]]:
    """As `realistic_posteriors`, with a blank that is most probable in 4 of 5 frames."""
    rng = np.random.default_rng(seed)
    log_odds_T = _blank_log_odds(num_frames, rng)
    start = 0
    for logp_TC in realistic_posteriors(num_frames, num_classes - 1, seed=seed):
        log_odds_T1 = log_odds_T[start : start + len(logp_TC), None]
        start += len(logp_TC)
        blank_T1, others_T1 = -np.logaddexp(0, -log_odds_T1), -np.logaddexp(0, log_odds_T1)
        yield np.concatenate([blank_T1, logp_TC + others_T1], axis=1).astype(np.float32)


def _blank_log_odds(num_frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """ln p / (1 - p) of the blank: high in runs, low in spikes, smooth noise of 2 nats."""
    noise_T = rng.normal(size=num_frames)
    for frame in range(1, num_frames):
        noise_T[frame] = 0.8 * noise_T[frame - 1] + 0.6 * noise_T[frame]
    pieces: list[NDArray[np.float64]] = []
    while sum(map(len, pieces)) < num_frames:
        pieces.append(np.full(rng.geometric(1 / MEAN_BLANK_FRAMES), BLANK_LOG_ODDS))
        pieces.append(np.full(rng.choice(SPIKE_FRAMES), SPIKE_LOG_ODDS))
    return np.concatenate(pieces)[:num_frames] + 2 * noise_T


def _hidden(
    num_frames: int, embedding_CD: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    moves_T = rng.random(num_frames) < 1 / MEAN_DWELL_FRAMES
    visits = rng.integers(0, len(embedding_CD), size=int(moves_T.sum()) + 1)
    path_TD = embedding_CD[visits[np.cumsum(moves_T)]]
    hidden_TD = path_TD.copy()
    hidden_TD[1:] += 0.35 * path_TD[:-1]  # a network's input has neighbours
    hidden_TD[:-1] += 0.35 * path_TD[1:]
    noise_TD = rng.normal(size=path_TD.shape).astype(np.float32)
    noise_TD *= np.float32(NOISE_SCALE / np.sqrt(HIDDEN_DIM) * np.sqrt(1 - NOISE_MEMORY**2))
    for frame in range(1, num_frames):
        noise_TD[frame] += NOISE_MEMORY * noise_TD[frame - 1]
    return hidden_TD + noise_TD
