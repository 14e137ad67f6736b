"""Phones of a lang: the phone of each class, and the phones of each word.

Units are named as HTK does: `LEFT-PHONE+RIGHT`, with either context or none. Units of one phone may
share classes. A graph of Kaldi (HCLG.fst) names neither, and
tokens are their own classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from stages.acoustic.lang.lang import Lang
from stages.acoustic.lang.lang_folder import AnyLang

NO_PHONE = "?"  # of a class that no unit has


@dataclass(frozen=True, slots=True)
class Phones:
    """`of_class[c]` is the phone of class c; `of_word` has each pronunciation of a word."""

    of_class: tuple[str, ...]
    of_word: dict[str, tuple[tuple[str, ...], ...]]


def phones_of(lang: AnyLang) -> Phones | None:
    """The phones, or None if they are unknown or a class belongs to several of them."""
    if not isinstance(lang, Lang):
        return None
    of_class = [NO_PHONE] * lang.num_classes
    for unit, classes in lang.units.items():
        for number in classes:
            if of_class[number] not in (NO_PHONE, phone_of_unit(unit)):
                return None
            of_class[number] = phone_of_unit(unit)
    return Phones(tuple(of_class), dict(_words(lang)))


def phone_of_unit(unit: str) -> str:
    """AE of `D-AE+N`, `D-AE`, `AE+N` and `AE`."""
    return unit.rpartition("-")[2].partition("+")[0]


def _words(lang: Lang) -> Iterator[tuple[str, tuple[tuple[str, ...], ...]]]:
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for entry in lang.lexicon:
        phones = tuple(phone_of_unit(unit) for unit in entry.units)
        found.setdefault(entry.word, {})[phones] = None
    for word, several in found.items():
        yield word, tuple(several)
