"""Word alignment: reference and hypothesis word by word, in the pairs that NIST's sclite makes.

Several alignments may have equally few errors. sclite's costs are 3 of an insertion or deletion,
4 of a substitution; of those that cost the same it takes the one that kaldialign finds from the
other end (save that three substitutions may stand for two deletions and two insertions).
"""

from collections.abc import Sequence

import kaldialign

NO_WORD = ""  # no word of a text is empty
Pair = tuple[str, str]  # (said, heard); NO_WORD said: an insertion; NO_WORD heard: a deletion


def align_words(reference: str, hypothesis: str) -> Sequence[Pair]:
    """Pairs of words said and heard, in the order of time."""
    said, heard = reference.split()[::-1], hypothesis.split()[::-1]
    pairs: list[Pair] = kaldialign.align(said, heard, NO_WORD, sclite_mode=True)
    return pairs[::-1]
