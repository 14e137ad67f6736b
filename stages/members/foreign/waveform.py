"""Waveform: the samples that a model of the waveform gets for a piece of an utterance.

A piece has as many samples fewer than its utterance as it has rows fewer, so that a model whose
frames fit the rows of the utterance gives frames that fit those of the piece.

Shapes: S samples, T rows of the corpus.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stages.contract.errors import BadInput
from stages.members.batches import Piece
from stages.members.foreign.settings import Normalisation

if TYPE_CHECKING:  # members of features run without the packages that read audio
    from stages.acoustic.sound.checked_audio import CheckedAudio

NO_AUDIO = (
    "the corpus has no audio of it, and the model reads the waveform (input: waveform): make the "
    "corpus of audio (corpus.source: audio; the spoken corpus and Kaldi's features have none, and "
    "copies are features alone), or leave the member out"
)
EPSILON = 1e-7  # added to a variance, as transformers does


@dataclass(frozen=True, slots=True, kw_only=True)
class Waveform:
    """Samples of pieces; `samples_per_row` need not be whole."""

    audio: "CheckedAudio"
    samples_per_row: float
    normalise: Normalisation

    def of(self, piece: Piece) -> NDArray[np.float32]:
        """The samples of a piece with its context, (S,) in -1 to 1 before they are normalised.

        Raises:
            BadInput: if the corpus has no audio of the utterance, or its file cannot be used.
        """
        row = piece.utterance
        if row.audio is None:
            raise BadInput(NO_AUDIO)
        samples_S = self.audio.read(row.audio)
        first = round(piece.first * self.samples_per_row)
        rows_left_out = row.num_frames - (piece.last - piece.first)
        length = len(samples_S) - round(rows_left_out * self.samples_per_row)
        if length < 1:
            raise BadInput(
                f"{row.audio.path}: {len(samples_S)} samples for {row.num_frames} rows of the "
                f"corpus, wanted about {row.num_frames * self.samples_per_row:.0f}"
            )
        cut_S = samples_S[first : first + length]
        return zero_mean_unit_variance(cut_S) if self.normalise != "none" else cut_S


def zero_mean_unit_variance(samples_S: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples of mean 0 and variance 1, as feature extractors of transformers give them."""
    wide_S = samples_S.astype(np.float64)
    normal_S: NDArray[np.float64] = (wide_S - wide_S.mean()) / np.sqrt(wide_S.var() + EPSILON)
    return normal_S.astype(np.float32)
