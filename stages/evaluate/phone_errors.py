"""posteriors, transcript -> phone errors: recognition without a language model.

The most probable class of each frame gives a phone. Equal neighbours are one phone; silence is left
out after that. The reference are the phones of the transcript; of a word with several
pronunciations the one with the fewest errors counts. A flicker of one frame is an insertion: the
rate compares systems, it is not that of a phone recogniser.

Shapes: T frames, C classes, J found phones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.lang import SILENCE
from stages.acoustic.lang.phones import Phones
from stages.contract.results import PhoneErrors

ERROR = 1 << 24  # cost of an error; reference phones are counted below it


@dataclass(slots=True)
class PhoneTally:
    """Sums over the utterances of a split all of whose words have a pronunciation."""

    phones: Phones | None
    reference_phones: int = 0
    errors: int = 0

    def count(self, logp_TC: NDArray[np.float32], transcript: str) -> None:
        """Add an utterance."""
        words = transcript.split()
        if self.phones is None or not all(word in self.phones.of_word for word in words):
            return
        of_class = self.phones.of_class
        found = collapse([of_class[c] for c in logp_TC.argmax(axis=1)]) if len(logp_TC) else []
        errors, num_phones = fewest_errors(found, [self.phones.of_word[word] for word in words])
        self.errors += errors
        self.reference_phones += num_phones

    def result(self) -> PhoneErrors | None:
        """The sums; None if there is no phone to recognise."""
        if not self.reference_phones:
            return None
        return PhoneErrors(reference_phones=self.reference_phones, errors=self.errors)


def collapse(phones: Sequence[str]) -> list[str]:
    """A phone for each run of equal ones, then without silence."""
    return [phone for phone, _ in groupby(phones) if phone != SILENCE]


def fewest_errors(
    found: Sequence[str], words: Sequence[Sequence[Sequence[str]]]
) -> tuple[int, int]:
    """Errors, and phones of the reference, of the pronunciations with the fewest errors.

    Each word is a list of pronunciations. Among equally many errors the shortest reference counts.
    Levenshtein's recurrence, a row for each phone of the reference; rows of alternatives are joined
    by their minimum, which is exact, since the cost of what follows depends on the row alone.
    """
    names = {phone: number for number, phone in enumerate(dict.fromkeys(found))}
    found_J = np.array([names[phone] for phone in found], np.int64)
    steps_J1 = ERROR * np.arange(len(found) + 1, dtype=np.int64)
    cost_J1 = steps_J1.copy()
    for pronunciations in words:
        ends = []
        for pronunciation in pronunciations:
            row_J1 = cost_J1
            for phone in pronunciation:
                row_J1 = _next_row(row_J1, found_J != names.get(phone, -1), steps_J1)
            ends.append(row_J1)
        cost_J1 = np.minimum.reduce(ends)
    errors, num_phones = divmod(int(cost_J1[-1]), ERROR)
    return errors, num_phones


def _next_row(
    row_J1: NDArray[np.int64], is_other_J: NDArray[np.bool_], steps_J1: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The row after one more phone of the reference: deleted, found, or replaced; insertions."""
    next_J1 = row_J1 + ERROR
    np.minimum(next_J1[1:], row_J1[:-1] + ERROR * is_other_J, out=next_J1[1:])
    next_J1 += 1  # one more phone of the reference
    inserted_J1: NDArray[np.int64] = np.minimum.accumulate(next_J1 - steps_J1) + steps_J1
    return inserted_J1
