"""Phone errors against an oracle that tries all pronunciations one by one."""

from itertools import chain, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.acoustic.lang.lang import Lang, Pronunciation, read_lang
from stages.acoustic.lang.phones import Phones, phone_of_unit, phones_of
from stages.evaluate.phone_errors import PhoneTally, collapse, fewest_errors
from tests.support.makers.kaldi import make_lang

PHONE = st.sampled_from("abc")
PRONUNCIATION = st.lists(PHONE, max_size=4).map(tuple)
WORDS = st.lists(st.lists(PRONUNCIATION, min_size=1, max_size=3), max_size=4)


def levenshtein(found: list[str], wanted: list[str]) -> int:
    """The recurrence as it is in textbooks."""
    table = np.zeros((len(wanted) + 1, len(found) + 1), int)
    table[:, 0], table[0] = range(len(wanted) + 1), range(len(found) + 1)
    for i, j in product(range(1, len(wanted) + 1), range(1, len(found) + 1)):
        replaced = table[i - 1, j - 1] + (wanted[i - 1] != found[j - 1])
        table[i, j] = min(replaced, table[i - 1, j] + 1, table[i, j - 1] + 1)
    return int(table[-1, -1])


@given(st.lists(PHONE, max_size=9), WORDS)
def test_fewest_errors_are_those_of_the_best_pronunciations(
    found: list[str], words: list[list[tuple[str, ...]]]
) -> None:
    every = [list(chain.from_iterable(choice)) for choice in product(*words)]
    assert fewest_errors(found, words) == min(
        (levenshtein(found, wanted), len(wanted)) for wanted in every
    )


def test_equal_neighbours_are_one_phone_and_silence_divides_two() -> None:
    assert collapse(["SIL", "a", "a", "b", "b", "SIL", "b", "a"]) == ["a", "b", "b", "a"]
    assert collapse([]) == collapse(["SIL"]) == []


@pytest.mark.parametrize("unit", ["D-AE+N", "D-AE", "AE+N", "AE", "#-AE+#"])
def test_phone_of_a_unit_is_between_its_contexts(unit: str) -> None:
    assert phone_of_unit(unit) == "AE"


def test_phones_follow_from_units_and_lexicon(tmp_path: Path) -> None:
    phones = phones_of(read_lang(make_lang(tmp_path)))
    assert phones is not None
    assert phones.of_class == ("SIL", "a", "a", "b", "c", "c")
    assert phones.of_word["ABC"] == (("a", "b", "c"),)


def test_classes_may_be_shared_by_units_of_one_phone_only() -> None:
    def lang(units: dict[str, tuple[int, ...]]) -> Lang:
        lexicon = (Pronunciation("AN", ("#-a", "a-n")), Pronunciation("AN", ("#-a", "#-n")))
        return Lang(lexicon=lexicon, units={"SIL": (0,), **units}, arpa="", num_classes=5)

    phones = phones_of(lang({"#-a": (1,), "n-a": (1,), "a-n": (2,), "#-n": (3,)}))
    assert phones is not None
    assert phones.of_class == ("SIL", "a", "n", "n", "?")
    assert phones.of_word == {"AN": (("a", "n"),)}  # the same phones once
    assert phones_of(lang({"#-a": (1,), "a-n": (1,), "#-n": (3,)})) is None


def test_tally_counts_utterances_whose_words_are_all_known() -> None:
    phones = Phones(("SIL", "a", "b"), {"AB": (("a", "b"),), "A": (("a",),)})
    tally = PhoneTally(phones)
    path = [0, 1, 1, 2, 0, 2, 1]  # a b b a
    tally.count(np.log(np.eye(3, dtype=np.float32)[path] + 0.01), "AB A")
    tally.count(np.zeros((3, 3), np.float32), "AB UNKNOWN")
    tally.count(np.zeros((0, 3), np.float32), "A")
    found = tally.result()
    assert found is not None
    assert (found.errors, found.reference_phones, found.rate) == (2, 4, 0.5)
    assert PhoneTally(None).result() is PhoneTally(phones).result() is None
