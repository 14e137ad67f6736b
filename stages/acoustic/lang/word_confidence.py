"""best path, posteriors -> a confidence of each word, 0 to 1.

The decoder keeps the best path alone, no lattice. So the confidence of a word is the mean posterior
of the path's classes over the frames of the word: it does not depend on competing words.

Shapes: T frames, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.word_spans import Spellings

DIGITS = 6  # in result.json


@dataclass(frozen=True, slots=True)
class WordConfidence:
    """`spellings` is None where the lang has no lexicon: then no confidence is known."""

    log_prior_C: NDArray[np.float32]
    spellings: Spellings | None

    def along(
        self, words: Sequence[str], classes: Sequence[int], loglike_TC: NDArray[np.float32]
    ) -> tuple[float, ...] | None:
        """The confidence of each word of a path through log p(c|x) - log p(c).

        None for a path that ends within a word.
        """
        spans = self.spellings.spans(words, classes) if self.spellings else None
        if spans is None:
            return None
        class_T = np.array(classes, np.int64)
        logp_T = loglike_TC[np.arange(len(class_T)), class_T] + self.log_prior_C[class_T]
        prob_T = np.exp(np.minimum(logp_T.astype(np.float64), 0.0))
        return tuple(round(float(prob_T[start:end].mean()), DIGITS) for start, end in spans)
