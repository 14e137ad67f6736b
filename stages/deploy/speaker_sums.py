"""Normalisation of speech that is transcribed: by its speaker, by itself, or by given sums.

Shapes: T frames, F feature dims.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.features.front_end import Moments, normalise
from stages.acoustic.features.front_end_settings import FrontEndSettings
from stages.contract.errors import BadInput, MissingPart


@dataclass(slots=True)
class SpeakerSums:
    """The sums that utterances are normalised by, as in training.

    `given` stands for all speakers; without it those of "speaker" are gathered by `count`.
    """

    settings: FrontEndSettings
    given: Moments | None = None
    _of_speaker: dict[str, Moments] = field(default_factory=dict)

    @property
    def are_gathered(self) -> bool:
        """Must all speech be read once before the first utterance can be normalised?"""
        return self.settings.cmvn == "speaker" and self.given is None

    def count(self, speaker: str, features_TF: NDArray[np.float32]) -> None:
        """Add an utterance of a speaker."""
        more, so_far = Moments.of(features_TF), self._of_speaker.get(speaker)
        self._of_speaker[speaker] = more if so_far is None else so_far + more

    def normalise(self, speaker: str, features_TF: NDArray[np.float32]) -> NDArray[np.float32]:
        """Normalised features (T, F)."""
        how = self.settings
        if how.cmvn == "none":
            return features_TF
        if how.cmvn == "utterance":
            moments = Moments.of(features_TF)
        else:
            moments = self.given if self.given is not None else self._of_speaker[speaker]
        return normalise(features_TF, moments, norm_vars=how.norm_vars)


def sums_for(
    settings: FrontEndSettings, *, of_train: Moments | None, given: Moments | None, num_bins: int
) -> SpeakerSums:
    """The sums to use: those that the user gives, those of train for "global", or gathered ones.

    Raises:
        BadInput: if the given sums are of other features, or are not used.
        MissingPart: if the model is normalised by train and its sums are missing.
    """
    if given is not None and settings.cmvn in ("none", "utterance"):
        raise BadInput(
            f"the features of this model are normalised by {settings.cmvn}: leave out --cmvn-stats"
        )
    if settings.cmvn == "global" and given is None and of_train is None:
        raise MissingPart("cmvn.json of the export is missing: give one with --cmvn-stats")
    chosen = given if given is not None or settings.cmvn != "global" else of_train
    if chosen is not None and len(chosen.sum_F) != num_bins:
        raise BadInput(
            f"--cmvn-stats has sums of {len(chosen.sum_F)} features, the model reads {num_bins}"
        )
    return SpeakerSums(settings, chosen)
