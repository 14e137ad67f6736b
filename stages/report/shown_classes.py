"""soft labels of an utterance -> the classes that a posteriorgram shows. Does not draw.

Shapes: T frames, K ranks, P ranks of all frames, I classes with mass, R classes shown.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput
from storage.read.soft_labels import SoftLabels


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What is drawn. `prob_TR` is 0 for classes not kept; `labels_T` is None if unknown."""

    utterance: str
    seconds_per_frame: float
    classes_R: NDArray[np.int64]
    prob_TR: NDArray[np.float32]
    tail_T: NDArray[np.float32]
    labels_T: NDArray[np.int32] | None


def choose_classes(
    labels: SoftLabels,
    *,
    utterance: str,
    seconds_per_frame: float,
    num_classes: int,
    hard_labels_T: NDArray[np.int32] | None,
) -> Shown:
    """The classes with most mass in the utterance, in order of time.

    Raises:
        BadInput: if the utterance has no frames.
    """
    if not labels.num_frames:
        raise BadInput(f"utterance {utterance!r} has no frames: name another one")
    frame_P, rank_P = np.nonzero(~labels.is_absent_TK)
    ids, column_P = np.unique(labels.ids_TK[frame_P, rank_P], return_inverse=True)
    prob_TI = np.zeros((labels.num_frames, len(ids)), np.float32)
    prob_TI[frame_P, column_P] = np.exp(labels.logp_TK[frame_P, rank_P])
    chosen = np.argsort(-prob_TI.sum(axis=0), kind="stable")[:num_classes]
    chosen = chosen[np.argsort(prob_TI[:, chosen].argmax(axis=0), kind="stable")]
    return Shown(
        utterance=utterance,
        seconds_per_frame=seconds_per_frame,
        classes_R=ids[chosen].astype(np.int64),
        prob_TR=prob_TI[:, chosen],
        tail_T=labels.tail_T,
        labels_T=hard_labels_T,
    )
