"""Decoding graphs of hand-made langs: words planted as pdfs are decoded."""

import math
from dataclasses import replace

import kaldi_decoder
import kaldifst
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.acoustic.lang.graph import STEP_COST, build_graph, read_graph, read_words
from stages.acoustic.lang.lang import Lang, Pronunciation, read_lang
from stages.acoustic.lang.lexicon_fst import SILENCE_COST, disambiguate
from stages.contract.errors import BadInput
from tests.support.makers.kaldi import AN4

UNITS = {"SIL": (0, 1), "a": (2, 3), "b": (4,), "c": (5, 3, 3)}
LEXICON = (
    ("A", "a"),
    ("AB", "a b"),
    ("ABA", "a b a"),
    ("B", "b"),
    ("BEE", "b"),
    ("AA", "a a"),
    ("C", "c a"),
    ("C", "c b"),
)
UNIGRAMS = {"A": -0.5, "AB": -0.6, "ABA": -0.9, "B": -0.9, "BEE": -1.2, "AA": -0.8, "C": -0.8}
BIGRAMS = {"A BEE": -0.1, "<s> B": -0.2, "C </s>": -0.3}
TRIGRAMS = {"<s> A BEE": -0.4, "A BEE B": -0.2}


def make_arpa(order):
    tables = [{"</s>": -1.0, "<s>": -99.0, **UNIGRAMS}, BIGRAMS, TRIGRAMS][:order]
    if order == 3:
        tables[1] = {**BIGRAMS, "<s> A": -0.5, "BEE B": -0.7}
    counts = "".join(f"ngram {n}={len(table)}\n" for n, table in enumerate(tables, start=1))
    parts = [f"\\data\\\n{counts}\n"]
    for n, table in enumerate(tables, start=1):
        backoff = "" if n == order else " -0.2"
        rows = "".join(
            f"{logp} {words}{'' if words.endswith('</s>') else backoff}\n"
            for words, logp in table.items()
        )
        parts.append(f"\\{n}-grams:\n{rows}\n")
    return "".join(parts) + "\\end\\\n"


def make_lang(order=2, lexicon=LEXICON, units=UNITS, arpa=None):
    return Lang(
        lexicon=tuple(Pronunciation(word, tuple(spelled.split())) for word, spelled in lexicon),
        units=units,
        arpa=arpa or make_arpa(order),
        num_classes=1 + max(max(pdfs) for pdfs in units.values()),
    )


def hear(directory, path, num_classes=6):
    """Words and total cost of the best path if the pdfs of `path` have almost all probability."""
    logp = np.full((len(path), num_classes), -50.0, np.float32)
    logp[np.arange(len(path)), path] = 0
    graph = read_graph(directory)  # references: the decoder does not keep graph and matrix alive
    decodable = kaldi_decoder.DecodableCtc(logp)
    options = kaldi_decoder.FasterDecoderOptions(beam=1000.0)
    decoder = kaldi_decoder.FasterDecoder(graph, options)
    decoder.decode(decodable)
    assert decoder.reached_final()
    _, lattice = decoder.get_best_path()
    _, labels, words, weight = kaldifst.get_linear_symbol_sequence(lattice)
    assert [label - 1 for label in labels] == list(path)
    names = read_words(directory)
    return [names[word] for word in words], weight.value1 + weight.value2


@pytest.fixture(params=[1, 2, 3])
def graph(request, tmp_path):
    build_graph(make_lang(request.param), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ([2, 2, 3], "A"),
        ([2, 3, 4], "AB"),
        ([2, 3, 4, 2, 2, 3, 3], "ABA"),
        ([0, 1, 4, 0, 1], "B"),
        ([4, 0, 1, 1], "B"),
        ([2, 3, 0, 1, 2, 3, 4], "A AB"),
        ([5, 3, 3, 4], "C"),
        ([5, 5, 3, 3, 3, 2, 3, 0, 0, 1], "C"),
        ([0, 1, 5, 3, 3, 2, 3, 0, 1, 2, 3, 4], "C AB"),
    ],
)
def test_words_that_are_planted_are_found(graph, path, words):
    assert hear(graph, path)[0] == words.split()


def test_homophones_are_told_apart_by_the_language_model(tmp_path):
    build_graph(make_lang(2), tmp_path)
    assert hear(tmp_path, [2, 3, 0, 1, 4])[0] == ["A", "BEE"]  # bigram A BEE
    assert hear(tmp_path, [0, 1, 4])[0] == ["B"]  # bigram <s> B


def test_cost_of_a_path_is_topology_silence_and_language_model(tmp_path):
    build_graph(make_lang(1), tmp_path)
    words, cost = hear(tmp_path, [0, 1, 2, 2, 3])  # SIL A
    assert words == ["A"]
    language = -math.log(10) * (UNIGRAMS["A"] - 1.0)
    assert cost == pytest.approx(5 * STEP_COST + 2 * SILENCE_COST + language, abs=2e-2)


@given(st.lists(st.sampled_from(sorted(UNIGRAMS)), min_size=1, max_size=5), st.randoms())
@settings(max_examples=40, deadline=None)
def test_sentence_with_silences_is_decoded_as_one_of_its_homophones(
    tmp_path_factory, words, random
):
    directory = tmp_path_factory.getbasetemp() / "any-sentence"
    if not directory.exists():
        directory.mkdir()
        build_graph(make_lang(2), directory)
    spelled = dict(LEXICON)
    path = []
    for word in words:
        path += [0, 1] * random.randint(0, 1)
        pdfs = [pdf for unit in spelled[word].split() for pdf in UNITS[unit]]
        path += [pdf for pdf in pdfs for _ in range(random.randint(1, 3))]
    heard, _ = hear(directory, path)
    assert heard  # the decoder's input labels were compared with the path in `hear`


def test_silence_between_words_keeps_them_apart(graph):
    assert hear(graph, [2, 3, 0, 1, 2, 3])[0] == ["A", "A"]


def test_unit_may_have_any_number_of_states(tmp_path):
    units = {"SIL": (0,), "x": (1,), "y": (2, 3, 4, 5, 6)}
    arpa = "\\data\\\nngram 1=4\n\n\\1-grams:\n-1 </s>\n-99 <s>\n-1 X\n-1 Y\n\n\\end\\\n"
    build_graph(make_lang(lexicon=(("X", "x"), ("Y", "y")), units=units, arpa=arpa), tmp_path)
    assert hear(tmp_path, [1, 0, 2, 3, 4, 5, 6, 6], 7)[0] == ["X", "Y"]


def test_homophones_and_beginnings_are_disambiguated():
    entries = make_lang().lexicon
    assert disambiguate(entries) == [1, 1, 0, 1, 2, 0, 0, 0]


def test_graph_has_the_same_bytes_for_the_same_lang(tmp_path):
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        build_graph(make_lang(), tmp_path / name)
        files = sorted(path for path in (tmp_path / name).iterdir())
        assert [path.name for path in files] == ["HLG.fst", "words.txt"]
        contents.append([path.read_bytes() for path in files])
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    "arpa", ["", "hello\n", make_arpa(2)[:-30], make_arpa(2).replace("-0.6", "x")]
)
def test_language_model_that_is_damaged_is_named(tmp_path, arpa):
    lang = replace(make_lang(), arpa=arpa)
    with pytest.raises(BadInput, match=r"lm\.arpa cannot be read: "):
        build_graph(lang, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_language_model_of_other_words_is_named(tmp_path):
    arpa = "\\data\\\nngram 1=3\n\n\\1-grams:\n-1 </s>\n-99 <s>\n-1 Q\n\n\\end\\\n"
    with pytest.raises(BadInput, match=r"has no word of lexicon\.txt"):
        build_graph(make_lang(arpa=arpa), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.an4
@pytest.mark.skipif(AN4 is None, reason="the AN4 data directory is not here")
def test_lang_of_an4_gives_a_graph(tmp_path):
    lang = read_lang(AN4 / "lang")
    build_graph(lang, tmp_path)
    spelled = {entry.word: entry.units for entry in lang.lexicon}
    words = ["RUBOUT", "G", "M", "ZERO"]
    path = [pdf for word in words for unit in spelled[word] for pdf in lang.units[unit]]
    assert hear(tmp_path, path, lang.num_classes)[0] == words
