"""RawUtterance: an utterance as a source of speech gives it, before the front end.

Shapes: T frames, F feature dims.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from storage.corpus.audio_span import AudioSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOf:
    """Id of the utterance that a copy was made from, and the copy's name in corpus.copies."""

    original: str
    name: str
    is_time_warped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RawUtterance:
    """One utterance: features and, if it is aligned, the pdf id of every frame."""

    id: str
    speaker: str
    transcript: str
    features_TF: NDArray[np.float32]
    labels_T: NDArray[np.int32] | None
    frame_shift_ms: float
    copy_of: CopyOf | None = None
    audio: AudioSpan | None = None  # where its recording is, if that is a file
