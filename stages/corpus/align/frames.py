"""Frames: the features of an utterance as Gaussians and networks take them.

The mean of the utterance is subtracted. For diagonal Gaussians, the features are then rotated to
the principal axes of their covariance, scaled to variance 1, and followed by their differences over
time: so log-mel energies, whose dims are correlated, serve as well as cepstra.

Shapes: T frames, F feature dims, P principal axes.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import kaldi_native_fbank as knf
import numpy as np
import torch
from numpy.typing import NDArray

from stages.corpus.raw import RawUtterance

MOST_AXES = 20  # what the other axes contain is mostly noise
DELTA_ORDER = 2
DELTAS = knf.DeltaOptions(order=DELTA_ORDER, window=2)
SMALLEST_DEVIATION = 1e-3  # a constant feature must not be scaled up


def product(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix product by torch, whose number of threads the caller fixes.

    Numpy takes as many as there are processors, which moves the last bits.
    """
    return (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()


def centred(features_TF: NDArray[np.float32]) -> NDArray[np.float64]:
    """Features without their mean over the utterance."""
    wide_TF = features_TF.astype(np.float64)
    return np.asarray(wide_TF - wide_TF.mean(axis=0))


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """The principal axes (F, P) of the features around the means of their utterances."""

    axes_FP: NDArray[np.float64]
    deviation_F: NDArray[np.float64]

    @classmethod
    def of(cls, utterances: Iterable[RawUtterance]) -> "FeatureSpace":
        """Measure the axes of all frames of the utterances."""
        num_frames, products_FF = 0, np.zeros((1, 1))
        for raw in utterances:
            centred_TF = centred(raw.features_TF)
            products_FF = products_FF + product(centred_TF.T, centred_TF)
            num_frames += len(centred_TF)
        covariance_FF = products_FF / max(num_frames, 1)
        variance_F, vectors_FF = np.linalg.eigh(covariance_FF)
        order = np.argsort(-variance_F, kind="stable")[:MOST_AXES]
        floor = SMALLEST_DEVIATION**2
        return cls(
            axes_FP=vectors_FF[:, order] / np.sqrt(np.maximum(variance_F[order], floor)),
            deviation_F=np.sqrt(np.maximum(np.diag(covariance_FF), floor)),
        )

    @property
    def num_features(self) -> int:
        """Number of dims of `scaled`."""
        return len(self.deviation_F)

    @property
    def num_rotated(self) -> int:
        """Number of dims of `rotated`."""
        return (1 + DELTA_ORDER) * int(self.axes_FP.shape[1])

    def scaled(self, raw: RawUtterance) -> NDArray[np.float32]:
        """Features (T, F) of mean 0 and variance 1 over all utterances: for a network."""
        scaled_TF: NDArray[np.float64] = centred(raw.features_TF) / self.deviation_F
        return scaled_TF.astype(np.float32)

    def loudness(self, raw: RawUtterance) -> NDArray[np.float64]:
        """Features along the first principal axis, (T,): they rise or fall with loudness."""
        return product(centred(raw.features_TF), self.axes_FP[:, :1])[:, 0]

    def rotated(self, raw: RawUtterance) -> NDArray[np.float64]:
        """Features along the principal axes and their differences, (T, 3 P): for Gaussians."""
        rotated_TP = product(centred(raw.features_TF), self.axes_FP)
        with_deltas = knf.compute_deltas(DELTAS, np.ascontiguousarray(rotated_TP, np.float32))
        return np.asarray(with_deltas, np.float64)
