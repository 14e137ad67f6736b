"""Hmms: the HMMs of transcripts, and the best path of each utterance through its own.

Shapes: T frames, C classes, S states of a transcript.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.contract.progress import Progress
from stages.corpus.align.transcript_hmm import Phones, TranscriptHmm
from stages.corpus.align.viterbi import best_states
from stages.corpus.kept_utterances import KeptUtterances
from stages.corpus.raw import RawUtterance
from stages.corpus.spoken.units import State

ClassOf = Callable[[State], int]
Score = Callable[[RawUtterance], NDArray[np.floating]]  # log-likelihoods (T, C)
Alignment = dict[int, NDArray[np.int64]]  # by number of the utterance: its state in every frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcribed:
    """A split, and the words of those of its utterances that are to be aligned."""

    kept: KeptUtterances
    words_of: Mapping[int, tuple[str, ...]]  # by number of the utterance


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmms:
    """Makes the HMM of any transcript whose words have pronunciations."""

    pronunciations: Mapping[str, Sequence[Phones]]
    states_per_phone: int

    @property
    def phones(self) -> list[str]:
        """All phones, sorted."""
        several = (phones for many in self.pronunciations.values() for phones in many)
        return sorted({phone for phones in several for phone in phones})

    def of(self, words: Sequence[str]) -> TranscriptHmm:
        """The HMM of a transcript."""
        return TranscriptHmm.of(words, self.pronunciations, states_per_phone=self.states_per_phone)

    def classes(self, words: Sequence[str], class_of: ClassOf) -> NDArray[np.int64]:
        """The class of each state of the HMM of a transcript, (S,)."""
        return np.array([class_of(state) for state in self.of(words).states], np.int64)

    def align(
        self,
        split: Transcribed,
        *,
        score: Score,
        class_of: ClassOf,
        title: str,
        progress: Progress,
    ) -> Alignment:
        """The best path of every utterance that has enough frames."""
        found: Alignment = {}
        raws = split.kept.read(split.words_of)
        with progress.task(title, total=len(split.words_of), unit="utterances") as task:
            for (number, words), raw in zip(split.words_of.items(), raws, strict=True):
                hmm = self.of(words)
                if len(raw.features_TF) >= hmm.min_frames:
                    class_S = [class_of(state) for state in hmm.states]
                    found[number] = best_states(hmm, score(raw)[:, class_S])
                task.advance()
        return found
