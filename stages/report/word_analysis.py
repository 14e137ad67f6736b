"""results -> word errors by speaker, by class of word, by pair of words, by utterance.

Counts are means over the seeds of a group. An insertion counts for the class of the inserted word.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.contract.results import UtteranceResult
from stages.report.statistics.groups import SystemGroup
from stages.report.statistics.word_alignment import NO_WORD, Pair, align_words

_NUMBERS = """
    zero oh one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty
    ninety hundred thousand million first second third fourth fifth sixth seventh eighth ninth
    tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth
    nineteenth twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth
    """
NUMBER_WORDS = frozenset(_NUMBERS.split())
CLASSES = ("letters", "numbers", "other words")


@dataclass(frozen=True, slots=True)
class Slice:
    """Errors of a group in a part of the test set: reference words, and errors per seed."""

    part: str
    group: str
    words: int
    errors: float

    @property
    def rate(self) -> float | None:
        """The word error rate; None without reference words."""
        return self.errors / self.words if self.words else None


@dataclass(frozen=True, slots=True)
class Confusion:
    """A pair of words with its mean count per seed; NO_WORD for insertions and deletions."""

    group: str
    reference: str
    hypothesis: str
    count: float


@dataclass(frozen=True, slots=True)
class AlignedUtterance:
    """An utterance with the hypothesis of a group's first seed; `errors`: mean over all seeds."""

    id: str
    speaker: str
    pairs: tuple[Pair, ...]
    errors: float
    rivals: tuple[tuple[str, tuple[Pair, ...]], ...]  # name, and the same for other groups


def class_of(word: str) -> str:
    """Letters (one character), numbers (spelt, in digits), or another word."""
    plain = word.casefold()
    if plain in NUMBER_WORDS or any(mark.isdigit() for mark in plain):
        return "numbers"
    return "letters" if len(plain.rstrip(".")) == 1 else "other words"


def by_speaker(groups: Sequence[SystemGroup]) -> list[Slice]:
    """Errors of each group for each speaker, in alphabetical order."""
    slices = []
    for group in groups:
        words: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for item in _utterances(group):
            words[item.speaker] += item.words.reference_words
            errors[item.speaker] += item.words.errors
        num = len(group.results)
        slices += [
            Slice(name, group.name, words[name] // num, errors[name] / num) for name in words
        ]
    return sorted(slices, key=lambda part: part.part)


def by_word_class(groups: Sequence[SystemGroup]) -> list[Slice]:
    """Errors of each group for letters, numbers, other words; without classes that are empty."""
    slices = []
    for group in groups:
        words: Counter[str] = Counter()
        errors: Counter[str] = Counter()
        for reference, hypothesis in _pairs(group):
            kind = class_of(reference if reference != NO_WORD else hypothesis)
            words[kind] += reference != NO_WORD
            errors[kind] += reference != hypothesis
        num = len(group.results)
        slices += [
            Slice(kind, group.name, words[kind] // num, errors[kind] / num)
            for kind in CLASSES
            if words[kind] or errors[kind]
        ]
    return sorted(slices, key=lambda part: CLASSES.index(part.part))


def confusions(groups: Sequence[SystemGroup], *, most: int) -> list[Confusion]:
    """The most frequent substitutions, insertions and deletions of each group."""
    found = []
    for group in groups:
        counts = Counter(
            (reference, hypothesis)
            for reference, hypothesis in _pairs(group)
            if reference != hypothesis
        )
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
        num = len(group.results)
        found += [Confusion(group.name, *pair, count / num) for pair, count in ranked]
    return found


def worst_utterances(
    group: SystemGroup, rivals: Sequence[SystemGroup], *, most: int
) -> list[AlignedUtterance]:
    """The utterances with most errors of the group, next to the hypotheses of others."""
    errors: defaultdict[str, float] = defaultdict(float)
    for item in _utterances(group):
        errors[item.id] += item.words.errors / len(group.results)
    first = group.first.test.utterances
    worst = sorted((item for item in first if errors[item.id]), key=lambda i: (-errors[i.id], i.id))
    hypotheses = [
        (rival.name, {item.id: item for item in rival.first.test.utterances}) for rival in rivals
    ]
    return [
        AlignedUtterance(
            item.id,
            item.speaker,
            _aligned(item),
            errors[item.id],
            tuple((name, _aligned(others[item.id])) for name, others in hypotheses),
        )
        for item in worst[:most]
    ]


def _utterances(group: SystemGroup) -> Iterable[UtteranceResult]:
    return (item for split in group.splits("test") for item in split.utterances)


def _aligned(item: UtteranceResult) -> tuple[Pair, ...]:
    return tuple(align_words(item.reference, item.hypothesis))


def _pairs(group: SystemGroup) -> Iterable[Pair]:
    return (pair for item in _utterances(group) for pair in _aligned(item))
