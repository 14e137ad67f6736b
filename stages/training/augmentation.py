"""Augmentation: masks, noise and gain on a batch's features. Every frame stays where it is.

Only what keeps frames aligned with their labels is here; time warping is not.

Shapes: B utterances, T frames, F feature dims.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from stages.contract.settings import Settings


class AugmentationSettings(Settings):
    """Masks a training utterance gets, noise and gain. Zero is off.

    Noise and gain are in standard deviations of each feature: 0.1 is little, 0.5 is much.
    """

    time_masks: int = Field(0, ge=0)
    time_mask_frames: int = Field(20, ge=1)  # the widest
    feature_masks: int = Field(0, ge=0)
    feature_mask_dims: int = Field(8, ge=1)  # the widest
    noise: float = Field(0.0, ge=0.0, le=4.0)  # of each frame and feature, normally distributed
    gain: float = Field(0.0, ge=0.0, le=4.0)  # largest shift of a whole utterance: louder, softer

    @property
    def is_on(self) -> bool:
        """Whether anything is changed at all."""
        return bool(self.time_masks or self.feature_masks or self.noise or self.gain)


def augment(
    features_BTF: NDArray[np.float32],
    lengths: list[int],
    *,
    settings: AugmentationSettings,
    mean_F: NDArray[np.float32],
    std_F: NDArray[np.float32],
    rngs: Sequence[np.random.Generator],
) -> NDArray[np.float32]:
    """A changed copy: noise added, the whole shifted, masked stretches set to the mean.

    Each utterance has a generator of its own.
    """
    result = features_BTF.copy()
    for row, (length, rng) in enumerate(zip(lengths, rngs, strict=True)):
        block_TF = result[row, :length]
        if settings.noise:
            noise_TF = rng.standard_normal(block_TF.shape, dtype=np.float32)
            block_TF += settings.noise * std_F * noise_TF
        if settings.gain:
            block_TF += np.float32(rng.uniform(-settings.gain, settings.gain)) * std_F
        for _ in range(settings.time_masks):
            first, last = _stretch(length, settings.time_mask_frames, rng)
            block_TF[first:last] = mean_F
        for _ in range(settings.feature_masks):
            first, last = _stretch(len(mean_F), settings.feature_mask_dims, rng)
            block_TF[:, first:last] = mean_F[first:last]
    return result


def _stretch(size: int, widest: int, rng: np.random.Generator) -> tuple[int, int]:
    width = int(rng.integers(min(widest, size) + 1))
    first = int(rng.integers(size - width + 1))
    return first, first + width
