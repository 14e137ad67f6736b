"""RawUtterance: an utterance as a source of speech gives it, before the front end.

Shapes: T frames, F feature dims, L tokens.
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
    """One utterance: features and, if it is transcribed, a class of every frame or its tokens.

    `labels_T` has the pdf ids of an alignment; `tokens_L` the token ids of a corpus of tokens.
    """

    id: str
    speaker: str
    transcript: str
    features_TF: NDArray[np.float32]
    labels_T: NDArray[np.int32] | None
    frame_shift_ms: float
    tokens_L: NDArray[np.int32] | None = None
    copy_of: CopyOf | None = None
    audio: AudioSpan | None = None  # where its recording is, if that is a file

    @property
    def is_labelled(self) -> bool:
        """Whether it has hard labels: classes of its frames, or tokens."""
        return self.labels_T is not None or self.tokens_L is not None
