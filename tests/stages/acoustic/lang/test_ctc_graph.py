"""Graph of tokens: every path through it collapses to a spelling, at the cost of its words."""

import math
from itertools import product
from pathlib import Path

import kaldifst
import numpy as np
import pytest

from stages.acoustic.lang.beam_search import SearchLimits, decode_matrix
from stages.acoustic.lang.ctc_graph import with_ctc_topology
from stages.acoustic.lang.graph import read_graph, read_words
from stages.acoustic.lang.lang import Pronunciation
from stages.acoustic.lang.lang_folder import (
    build_decoding_graph,
    check_lang,
    read_lang_folder,
    write_lang_folder,
)
from stages.acoustic.lang.token_lang import TokenLang
from stages.contract.ctc import collapse
from stages.contract.errors import BadInput
from tests.support.makers.kaldi import ARPA

TOKENS = ("<blk>", "▁", "a", "b", "c")
WORDS = ("AB", "BA", "C", "ABC", "BB")
LIMITS = SearchLimits(beam=1e4, max_active=10_000, min_active=1)


def _lang(**changes: object) -> TokenLang:
    lexicon = tuple(Pronunciation(w, ("▁", *w.lower())) for w in WORDS)
    arpa = ARPA.replace("SEE", "BB")
    fields: dict[str, object] = {"tokens": TOKENS, "lexicon": lexicon, "arpa": arpa}
    return TokenLang(**(fields | changes))  # type: ignore[arg-type]


def _costs(fst: kaldifst.StdVectorFst, length: int) -> dict[tuple[int, ...], float]:
    """The lowest cost of each sequence of input labels of this length."""
    found: dict[tuple[int, ...], float] = {}
    to_visit: list[tuple[int, tuple[int, ...], float]] = [(fst.start, (), 0.0)]
    while to_visit:
        state, labels, cost = to_visit.pop()
        total = cost + fst.final(state).value
        if len(labels) == length and total < found.get(labels, math.inf):
            found[labels] = total
        for arc in kaldifst.ArcIterator(fst, state):
            longer = labels + ((arc.ilabel,) if arc.ilabel else ())
            if len(longer) <= length:
                to_visit.append((arc.nextstate, longer, cost + arc.weight.value))
    return found


def _acceptor() -> kaldifst.StdVectorFst:
    """2 2 (cost 1), 2 3 (cost 2), and 3 with a symbol above the classes (cost 4); 1 is blank."""
    fst = kaldifst.StdVectorFst()
    for _ in range(4):
        fst.add_state()
    fst.start = 0
    for source, label, cost, target in ((0, 2, 1, 1), (1, 2, 0, 2), (1, 3, 1, 2), (0, 4, 1, 3)):
        fst.add_arc(source, kaldifst.StdArc(label, label, cost, target))
    fst.add_arc(3, kaldifst.StdArc(3, 3, 3, 2))
    fst.set_final(2, 0.0)
    return fst


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5])
def test_paths_of_the_topology_are_those_that_collapse_to_a_sequence(length: int) -> None:
    cost_of = {(1, 1): 1.0, (1, 2): 2.0, (2,): 4.0}  # class sequences
    wanted = {}
    for classes in product(range(3), repeat=length):
        tokens = tuple(collapse(np.array(classes, np.int64)).tolist())
        if tokens in cost_of:
            wanted[tuple(c + 1 for c in classes)] = cost_of[tokens]
    assert _costs(with_ctc_topology(_acceptor(), num_classes=3), length) == wanted


def test_words_are_decoded_through_blanks_and_repeats(tmp_path: Path) -> None:
    build_decoding_graph(_lang(), tmp_path)
    graph, words = read_graph(tmp_path), read_words(tmp_path)
    spelled = {token: number for number, token in enumerate(TOKENS)}
    for text, path in {
        "AB C": ["▁", "a", "b", "b", "<blk>", "▁", "▁", "c"],
        "BB": ["<blk>", "▁", "b", "<blk>", "b"],
        "ABC": ["▁", "a", "<blk>", "b", "c", "<blk>"],
        "AB": ["▁", "a", "b", "<blk>"],
    }.items():
        logp_TC = np.full((len(path), len(TOKENS)), -20.0, np.float32)
        logp_TC[np.arange(len(path)), [spelled[token] for token in path]] = 0.0
        found = decode_matrix(graph, logp_TC, limits=LIMITS)
        assert " ".join(words[word] for word in found.words) == text
        assert found.reached_final


def test_lang_that_is_written_is_read(tmp_path: Path) -> None:
    write_lang_folder(_lang(), tmp_path)
    check_lang(_lang())
    assert read_lang_folder(tmp_path) == _lang()


def test_text_of_tokens_is_words_between_blanks() -> None:
    assert _lang().text_of([1, 2, 3, 1, 4]) == "ab c"
    assert _lang().spells_text
    phones = _lang(tokens=("<blk>", "a", "b", "c"), lexicon=(Pronunciation("C", ("c",)),))
    assert not phones.spells_text


def test_inventory_follows_from_the_tokens_alone() -> None:
    other = _lang(lexicon=(Pronunciation("C", ("▁", "c")),))
    assert other.class_inventory == _lang().class_inventory
    assert _lang(tokens=(*TOKENS, "d")).class_inventory != _lang().class_inventory


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tokens.txt", "<blk> 0\na 2\n", r"tokens.txt:2: wanted `token 1`, found 'a 2'"),
        ("tokens.txt", "<blk> 0\na 1\na 2\n", r"tokens.txt:3"),
        ("tokens.txt", "a 0\n<blk> 1\n", r"wanted `<blk> 0`"),
        ("lexicon.txt", "C ▁ c\nD ▁ d\n", r"lexicon.txt:2: D has \['d'\]"),
        ("lexicon.txt", "C\n", r"lexicon.txt:1: C has no tokens"),
        ("lexicon.txt", "", "lexicon.txt is empty"),
    ],
)
def test_damaged_folder_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    write_lang_folder(_lang(), tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=message):
        read_lang_folder(tmp_path)
