"""Word alignment: reference and hypothesis word by word, aligned as NIST's sclite does.

Several alignments may have the fewest errors. sclite's costs are 3 for an insertion or deletion and
4 for a substitution. Among equal costs it takes the alignment that kaldialign finds on the reversed
words (except that three substitutions may replace two deletions and two insertions).
"""

from collections.abc import Sequence

import kaldialign

NO_WORD = ""  # marks an insertion or a deletion: no word of a text is empty
Pair = tuple[str, str]  # reference word, hypothesis word


def align_words(reference: str, hypothesis: str) -> Sequence[Pair]:
    """Pairs of reference word and hypothesis word, in order of time."""
    backwards = reference.split()[::-1], hypothesis.split()[::-1]
    pairs: list[Pair] = kaldialign.align(*backwards, NO_WORD, sclite_mode=True)
    return pairs[::-1]
