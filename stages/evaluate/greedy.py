"""posteriors, tokens, transcript -> token, character and word errors of greedy decoding.

The most probable class of every frame, collapsed as CTC has it: no lexicon, no language model.
Characters are scored with the blanks between words; tokens that do not spell text (phones) give
neither characters nor words.

Shapes: T frames, C classes, L tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.token_lang import WORD_START, TokenLang
from stages.contract.ctc import BLANK, collapse
from stages.contract.results import GreedyResult, UtteranceResult
from stages.evaluate.score import score_utterance
from storage.corpus.utterance import Utterance


@dataclass(slots=True)
class GreedyTally:
    """The utterances of a split, scored in tokens, characters and words."""

    lang: TokenLang
    tokens: list[UtteranceResult] = field(default_factory=list)
    characters: list[UtteranceResult] = field(default_factory=list)
    words: list[UtteranceResult] = field(default_factory=list)
    num_frames: int = 0
    num_blank: int = 0

    def count(
        self, logp_TC: NDArray[np.float32], tokens_L: NDArray[np.int32] | None, row: Utterance
    ) -> None:
        """Add an utterance. Without tokens of its own it does not count among the token errors."""
        classes_T = logp_TC.argmax(axis=1)
        found = [int(token) for token in collapse(classes_T)]
        self.num_frames += len(classes_T)
        self.num_blank += int((classes_T == BLANK).sum())
        known = [] if tokens_L is None else [int(token) for token in tokens_L]
        self._add(self.tokens, row, self._named(known), self._named(found if known else []))
        if self.lang.spells_text:
            reference, text = row.transcript, self.lang.text_of(found)
            self._add(self.words, row, reference, text)
            self._add(self.characters, row, _spread(reference), _spread(text))

    def result(self) -> GreedyResult:
        """All utterances, in order."""
        spells = self.lang.spells_text
        return GreedyResult(
            tokens=tuple(self.tokens),
            characters=tuple(self.characters) if spells else None,
            words=tuple(self.words) if spells else None,
            blank_share=self.num_blank / max(1, self.num_frames),
        )

    def _named(self, tokens: Sequence[int]) -> str:
        return " ".join(self.lang.tokens[token] for token in tokens)

    def _add(
        self, several: list[UtteranceResult], row: Utterance, reference: str, hypothesis: str
    ) -> None:
        several.append(
            score_utterance(row.id, speaker=row.speaker, reference=reference, hypothesis=hypothesis)
        )


def _spread(text: str) -> str:
    """The characters of a text, separated by blanks."""
    return " ".join(WORD_START.join(text.split()))
