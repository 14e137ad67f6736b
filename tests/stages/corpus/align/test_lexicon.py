"""Pronunciations from a file, by letters, by espeak-ng."""

import re

import pytest

from stages.contract.errors import BadInput
from stages.corpus.align.lexicon import pronounce, read_lexicon
from stages.corpus.align.settings import AlignSettings


def test_file_gives_all_pronunciations_of_the_words_that_are_wanted(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("tomato t o m a\n\ntomato t o m e\nother o\ntomato t o m a\n")
    found = pronounce({"tomato", "missing"}, AlignSettings(lexicon=str(path)))
    assert found == {"tomato": (("t", "o", "m", "a"), ("t", "o", "m", "e"))}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("word", "lexicon.txt:2: word has no phones"),
        ("word a-b", "lexicon.txt:2: the phone 'a-b' contains '-'"),
        ("word SIL", "lexicon.txt:2: the phone 'SIL' is reserved"),
        ("word UNK", "lexicon.txt:2: the phone 'UNK' is reserved"),
    ],
)
def test_damaged_lexicon_is_refused_with_its_line(tmp_path, line, message):
    path = tmp_path / "lexicon.txt"
    path.write_text(f"good g\n{line}\n")
    with pytest.raises(BadInput, match=re.escape(message)):
        read_lexicon(path)


def test_graphemes_are_the_letters_in_lower_case():
    words = {"Kůň", "don't", "K\u016f\u0148".lower(), "ku\u030an", "...", "R2"}
    found = pronounce(words, AlignSettings(lexicon="graphemes"))
    assert found["Kůň"] == (("k", "ů", "ň"),)
    assert found["ku\u030an"] == (("k", "ů", "n"),)  # a letter and its ring are one phone
    assert found["don't"] == (("d", "o", "n", "t"),)
    assert found["R2"] == (("r", "2"),)
    assert "..." not in found


def test_espeak_gives_phones_without_stress_and_separators():
    pytest.importorskip("espeakng_loader")
    found = pronounce({"church", "HELLO"}, AlignSettings(lexicon="espeak:en-us"))
    assert found == {"HELLO": (("h", "ə", "l", "oʊ"),), "church": (("tʃ", "ɜː", "tʃ"),)}


def test_espeak_switches_of_language_are_no_phones():
    pytest.importorskip("espeakng_loader")
    words = {"weekend", "skateboard", "příliš", "-", "a"}
    found = pronounce(words, AlignSettings(lexicon="espeak:cs"))
    phones = {phone for many in found.values() for one in many for phone in one}
    assert not {mark for phone in phones for mark in phone} & set("()_-+#ˈˌ")


def test_language_that_espeak_lacks_is_named():
    pytest.importorskip("espeakng_loader")
    with pytest.raises(BadInput, match="no language 'xx-none'"):
        pronounce({"a"}, AlignSettings(lexicon="espeak:xx-none"))
