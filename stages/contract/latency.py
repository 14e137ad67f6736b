"""Latency: the speech that a system must have received before it gives an output."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEnd:
    """What the features of a corpus wait for.

    Rows of the corpus file are `frames_per_row` frames of `frame_ms` milliseconds apart. A row
    needs `look_ahead` frames after its own (splicing, deltas). `normalised_over` names the speech
    whose mean is subtracted before ("speaker", "utterance"): all of it must be there. Empty: none.
    """

    frame_ms: float
    frames_per_row: int
    look_ahead: int
    normalised_over: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency of a model that sees `right_context` rows ahead; infinite: the whole utterance."""

    right_context: float
    front_end: FrontEnd

    @property
    def frames(self) -> float:
        """Frames of the features: those that a row waits for, the model's, those between two rows.

        A frame that has just missed a row waits for the next one. The length of the window of the
        first frame (25 ms) and the time of computation are not part of it.
        """
        step = self.front_end.frames_per_row
        return self.right_context * step + self.front_end.look_ahead + step - 1

    @property
    def milliseconds(self) -> float:
        """The same in milliseconds."""
        return self.frames * self.front_end.frame_ms

    @property
    def is_limited(self) -> bool:
        """Whether the model needs less than the whole utterance."""
        return math.isfinite(self.right_context)
