"""Recording: one utterance as samples, before features are computed.

Shapes: T samples or frames.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.corpus.sound.wave import Wave


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One utterance at 16 kHz and, if it is aligned, the pdf id of every frame.

    `samples_T` are integers of 16 bits, as float32. `labels_T` has
    `rates.num_frames_of(len(samples_T))` frames.
    """

    id: str
    speaker: str
    transcript: str
    samples_T: Wave
    labels_T: NDArray[np.int32] | None
