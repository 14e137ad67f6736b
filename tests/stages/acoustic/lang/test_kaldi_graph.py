"""Kaldi's HCLG.fst: it decodes like the graph of the lexicon; damage is refused by name."""

import os
import re
import struct
from contextlib import suppress
from itertools import pairwise

import kaldifst
import kaldiio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.acoustic.lang import openfst_file
from stages.acoustic.lang.beam_search import SearchLimits, decode_matrix
from stages.acoustic.lang.graph import build_graph, read_graph, read_words
from stages.acoustic.lang.kaldi_graph import KaldiGraph, read_kaldi_graph
from stages.acoustic.lang.lang import read_lang
from stages.acoustic.lang.lang_folder import (
    build_decoding_graph,
    check_lang,
    read_lang_folder,
    write_lang_folder,
)
from stages.acoustic.lang.openfst_file import ARC, MAGIC, encode_const, read_fst
from stages.acoustic.lang.transitions import read_transitions
from stages.contract.errors import BadInput
from stages.contract.progress import SilentProgress
from stages.corpus.build import build_corpus
from stages.corpus.hmm_steps import HmmSteps
from stages.corpus.settings import CorpusSettings
from stages.corpus.source_fingerprint import source_fingerprint
from stages.corpus.summary import summary_lines
from stages.evaluate.decode_worker import GraphShelf
from tests.support.makers.hclg import (
    an4_with_kaldi_graph,
    make_kaldi_graph,
    show_transitions,
    swap_lang,
    write_fst,
)
from tests.support.makers.kaldi import (
    AN4,
    LEXICON,
    NUM_PDFS,
    UNITS,
    make_kaldi_directory,
    make_lang,
    write_archive,
)
from tests.support.oracles.viterbi import best_cost


@pytest.fixture
def lang(tmp_path):
    return make_lang(tmp_path / "lexicon")


@pytest.fixture
def graph(tmp_path, lang):
    return make_kaldi_graph(tmp_path / "graph", lang)


def built(directory, out):
    out.mkdir()
    build_decoding_graph(read_lang_folder(directory), out)
    return out


def same(found, wanted):
    """Check that two graphs have the same arcs in the same order."""
    assert found.start == wanted.start
    for name in ("final_S", "first_S", "count_S", "arcs_A"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


@pytest.mark.parametrize("type", ["const", "vector"])
def test_graph_is_that_of_its_lexicon(tmp_path, lang, type):
    """The oracle: a graph of pdfs, mapped to transition-ids and back, is unchanged."""
    kaldi = make_kaldi_graph(tmp_path / "kaldi", lang, type=type)
    assert read_fst(kaldi / "HCLG.fst").arcs_A["input"].max() > 2 * NUM_PDFS
    ours, theirs = built(lang, tmp_path / "ours"), built(kaldi, tmp_path / "theirs")
    same(read_fst(theirs / "HLG.fst"), read_fst(ours / "HLG.fst"))
    assert read_graph(theirs).to_str() == read_graph(ours).to_str()
    assert read_words(theirs) == read_words(ours)
    assert {path.name for path in theirs.iterdir()} == {"HLG.fst", "words.txt"}


def test_lang_of_kaldi_has_words_and_classes(graph, lang):
    read = read_lang_folder(graph)
    assert isinstance(read, KaldiGraph)
    assert read.words == read_lang(lang).words == tuple(sorted(LEXICON))
    assert read.num_classes == NUM_PDFS
    (graph / "num_pdfs").write_text(f"{NUM_PDFS + 3}\n")
    more = read_lang_folder(graph)
    assert more.num_classes == NUM_PDFS + 3
    assert more.class_inventory != read.class_inventory


def test_class_inventory_depends_on_states_and_not_on_probabilities(graph):
    before = read_lang_folder(graph).class_inventory
    path = graph / "transitions.txt"
    text = path.read_text()
    path.write_text(text.replace("p = 0.75", "p = 0.5"))
    assert read_lang_folder(graph).class_inventory == before
    path.write_text(text.replace("phone = a hmm-state = 0", "phone = a hmm-state = 1"))
    assert read_lang_folder(graph).class_inventory != before


def test_lang_folder_is_read_as_written_and_is_a_copy(tmp_path, graph):
    first = read_lang_folder(graph)
    write_lang_folder(first, tmp_path / "copy")
    again = read_lang_folder(tmp_path / "copy")
    assert again == first
    wanted = (graph / "HCLG.fst").read_bytes()
    with (graph / "HCLG.fst").open("r+b") as file:  # the same inode, as with a shell's >
        file.write(bytes(50))
    assert (tmp_path / "copy" / "HCLG.fst").read_bytes() == wanted
    check_lang(again)
    with pytest.raises(BadInput, match="not an OpenFst file"):
        check_lang(first)


# OpenFst's files

arcs = st.tuples(
    st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.floats(-9, 9, width=32)
)


@given(st.lists(st.lists(arcs, max_size=5), min_size=6, max_size=9), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_fst_is_read_as_by_openfst(tmp_path_factory, states, final):
    directory = tmp_path_factory.getbasetemp() / "openfst"
    directory.mkdir(exist_ok=True)
    fst = kaldifst.StdVectorFst()
    for _ in states:
        fst.add_state()
    fst.start = len(states) // 2
    fst.set_final(final, 0.5)
    for state, leaving in enumerate(states):
        for target, ilabel, olabel, cost in leaving:
            fst.add_arc(state, kaldifst.StdArc(ilabel, olabel, cost, target))
    write_fst(directory / "v", fst, type="vector")
    write_fst(directory / "c", fst, type="const")
    same(read_fst(directory / "v"), read_fst(directory / "c"))
    for name in ("v", "c"):
        content = b"".join(encode_const(read_fst(directory / name), change=lambda arcs: arcs))
        (directory / "again").write_bytes(content)
        again = kaldifst.StdConstFst.read(os.fspath(directory / "again"))
        assert again.to_str() == fst.to_str()
        counts = [(again.num_arcs(s), again.num_input_epsilons(s)) for s in range(len(states))]
        assert counts == [(fst.num_arcs(s), fst.num_input_epsilons(s)) for s in range(len(states))]
        theirs = (directory / "c").read_bytes()
        at = 4 + 9 + 12 + 8  # magic, two names, version and flags: then the properties
        assert content[:at] + theirs[at : at + 8] + content[at + 8 :] == theirs


def aligned(content):
    """A const file as OpenFst before 1.4, or fstconvert --fst_align, writes it: version 1."""
    head, states, num_states = content[:65], content[65:], struct.unpack_from("<q", content, 49)[0]
    head = head[:25] + struct.pack("<i", 1) + head[29:]
    states, arcs = states[: 20 * num_states], states[20 * num_states :]
    for part in (states, arcs):
        head += bytes(-len(head) % 16) + part
    return head


def test_fst_that_is_aligned_is_read_as_by_openfst(tmp_path, graph):
    wanted = read_fst(graph / "HCLG.fst")
    path = tmp_path / "aligned.fst"
    path.write_bytes(aligned((graph / "HCLG.fst").read_bytes()))
    oracle = kaldifst.StdConstFst.read(os.fspath(path))
    plain = kaldifst.StdConstFst.read(os.fspath(graph / "HCLG.fst"))
    assert oracle.to_str() == plain.to_str()
    same(read_fst(path), wanted)


def test_fst_of_vector_type_may_lack_its_number_of_states(tmp_path, lang):
    path = make_kaldi_graph(tmp_path / "graph", lang, type="vector") / "HCLG.fst"
    wanted, content = read_fst(path), path.read_bytes()
    assert struct.unpack_from("<q", content, 50) == (len(wanted.final_S),)
    path.write_bytes(content[:50] + struct.pack("<q", -1) + content[58:])
    same(read_fst(path), wanted)
    path.write_bytes(content + bytes(12))  # one more than declared
    with pytest.raises(BadInput, match=f"{len(wanted.final_S) + 1} whole states found"):
        read_fst(path)


def test_fst_chunks_cover_large_graphs(tmp_path, graph, monkeypatch):
    whole = built(graph, tmp_path / "whole")
    monkeypatch.setattr(openfst_file, "CHUNK_ARCS", 7)
    assert (built(graph, tmp_path / "parts") / "HLG.fst").read_bytes() == (
        whole / "HLG.fst"
    ).read_bytes()


@pytest.mark.parametrize("type", ["const", "vector"])
def test_fst_cut_anywhere_is_refused(tmp_path, lang, type):
    path = make_kaldi_graph(tmp_path / "graph", lang, type=type) / "HCLG.fst"
    content = path.read_bytes()
    for size in [*range(120), *range(120, len(content), 7)]:
        path.write_bytes(content[:size])
        with pytest.raises(BadInput, match=r"HCLG\.fst"):
            read_fst(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(BadInput, match="truncated or damaged"):
        read_fst(path)


@pytest.mark.parametrize("type", ["const", "vector"])
def test_fst_with_damaged_bytes_raises_bad_input_only(tmp_path, lang, type):
    directory = make_kaldi_graph(tmp_path / "graph", lang, type=type)
    path, rng = directory / "HCLG.fst", np.random.default_rng(3)
    content, refused = path.read_bytes(), 0
    for _ in range(200):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 400), size=2):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            check_lang(read_kaldi_graph(directory))
        except BadInput:
            refused += 1
        else:  # graphs that are accepted are safe to decode with
            with suppress(FileExistsError):
                (tmp_path / "out").mkdir()
            build_decoding_graph(read_kaldi_graph(directory), tmp_path / "out")
            loglike_TC = np.zeros((9, NUM_PDFS), np.float32)
            limits = SearchLimits(beam=9, max_active=50, min_active=20)
            decode_matrix(read_graph(tmp_path / "out"), loglike_TC, limits=limits)
    assert 50 < refused < 200


# what is refused


def edit(name, change):
    def damage(graph):
        (graph / name).write_text(change((graph / name).read_text()))

    return damage


def rewrite(change):
    """Change the graph through OpenFst's objects."""

    def damage(graph):
        path = graph / "HCLG.fst"
        fst = kaldifst.StdVectorFst(kaldifst.StdConstFst.read(os.fspath(path)))
        write_fst(path, change(fst) or fst, type="vector")

    return damage


def with_arc(ilabel, olabel, cost=0.0):
    return rewrite(lambda fst: fst.add_arc(0, kaldifst.StdArc(ilabel, olabel, cost, 0)))


def without_end(fst):
    for state in range(fst.num_states):
        fst.set_final(state, float("inf"))


def patch(at, raw):
    def damage(graph):
        content = bytearray((graph / "HCLG.fst").read_bytes())
        content[at : at + len(raw)] = raw
        (graph / "HCLG.fst").write_bytes(content)

    return damage


def last_arc(field, value):
    return lambda graph: patch(
        (graph / "HCLG.fst").stat().st_size - ARC.itemsize + 4 * ARC.names.index(field), value
    )(graph)


NUM_IDS = 6 * NUM_PDFS
BAD = {
    "no graph": (lambda g: (g / "HCLG.fst").unlink(), r"HCLG\.fst is missing: Kaldi's graph needs"),
    "no words": (lambda g: (g / "words.txt").unlink(), r"words\.txt is missing"),
    "no map": (lambda g: (g / "transitions.txt").unlink(), r"transitions\.txt is missing"),
    "a fifo": (
        lambda g: ((g / "HCLG.fst").unlink(), os.mkfifo(g / "HCLG.fst")),
        r"HCLG\.fst is missing",
    ),
    "text": (patch(0, b"0 1 2"), r"not an OpenFst file: wanted HCLG\.fst of"),
    "gzip": (patch(0, b"\x1f\x8b\x08"), "not an OpenFst file"),
    "another kind": (patch(8, b"ngram"), "'ngram' transducer of 'standard' arcs"),
    "other arcs": (patch(17, b"log64arc"), "'const' transducer of 'log64arc' arcs"),
    "a name without end": (patch(4, b"\xff\xff\xff\x7f"), "header is damaged"),
    "symbols inside": (patch(29, b"\3"), "fstsymbols --clear_isymbols"),
    "states without end": (patch(49, b"\xff" * 6), "truncated or damaged: .* states and"),
    "states below zero": (patch(49, b"\xff" * 8), "truncated or damaged"),
    "an empty graph": (rewrite(lambda fst: kaldifst.StdVectorFst()), "is an empty graph"),
    "a start outside": (patch(41, b"\xff\xff"), "points outside"),
    "an arc outside": (last_arc("next", b"\xff\xff\xff\x7f"), "points outside"),
    "an arc to below": (last_arc("next", b"\xff\xff\xff\xff"), "points outside"),
    "arcs of nobody": (patch(65 + 8, b"\xff\xff\xff\x00"), "points outside"),
    "no number": (last_arc("cost", b"\0\0\xc0\x7f"), "a cost is not a number"),
    "minus infinity": (last_arc("cost", b"\0\0\x80\xff"), "a cost is not a number"),
    "no end": (rewrite(without_end), "no final state"),
    "an unknown id": (
        with_arc(NUM_IDS + 1, 1),
        rf"input label {NUM_IDS + 1}, which is not a transition-id of transitions.txt \(1 to 36\)",
    ),
    "an id below zero": (with_arc(-2, 1), "input label -2"),
    "an unknown word": (
        with_arc(1, 9),
        r"output label 9, which is not a word of words.txt \(1 to 8\)",
    ),
    "a hole": (edit("words.txt", lambda t: t.replace("BA 3\n", "")), "no symbol with the number 3"),
    "a number twice": (
        edit("words.txt", lambda t: t + "X 3\n"),
        r"words.txt:10: number 3 occurs tw",
    ),
    "a word twice": (edit("words.txt", lambda t: t + "AB 9\n"), "words.txt:10: 'AB' occurs twice"),
    "no number of a word": (
        edit("words.txt", lambda t: t + "X\n"),
        r"words.txt:10: wanted 'WORD n",
    ),
    "a word of two": (edit("words.txt", lambda t: t + "X Y 9\n"), "words.txt:10: wanted 'WORD n"),
    "no eps": (edit("words.txt", lambda t: t.replace("<eps>", "X")), "wanted '<eps> 0' and"),
    "no words at all": (edit("words.txt", lambda t: ""), "no symbol with the number 0"),
    "no map at all": (edit("transitions.txt", lambda t: "\n"), "has no transition-id"),
    "a log line": (
        edit("transitions.txt", lambda t: "show-transitions phones.txt final.mdl\n" + t),
        r"transitions.txt:1: wanted the output of 'show-transitions .*, found .show-",
    ),
    "an id lost": (
        edit("transitions.txt", lambda t: t.replace(" Transition-id = 4 ", " Transition-id = 5 ")),
        "transitions.txt:6: transition-id 5, wanted 4",
    ),
    "cut in a line": (
        edit("transitions.txt", lambda t: t[:-3]),
        r"transitions.txt:54: wanted the output",
    ),
    "cut in an earlier line": (
        edit("transitions.txt", lambda t: "\n".join(t.split("\n")[:-34])),  # the last used are c's
        r"input label \d+, which is not a transition-id of transitions.txt \(1 to 14\)",
    ),
    "an id of no state": (
        edit("transitions.txt", lambda t: t.partition("\n")[2]),
        "transitions.txt:1: wanted the output",
    ),
    "a pdf without end": (
        edit("transitions.txt", lambda t: t.replace("pdf = 0\n", "pdf = 12345678\n", 1)),
        "transitions.txt:1: pdf 12345678, wanted one below",
    ),
    "digits without end": (
        edit("transitions.txt", lambda t: t.replace("pdf = 0\n", f"pdf = {'9' * 5000}\n", 1)),
        "transitions.txt:1: wanted the output",
    ),
    "a pdf outside the range": (
        lambda g: (g / "num_pdfs").write_text("5\n"),
        "pdf 5, but num_pdfs is 5",
    ),
    "both forms": (lambda g: make_lang(g), r"has HCLG.fst and lexicon.txt, wanted either HCLG"),
}


@pytest.mark.parametrize("case", BAD)
def test_graph_names_bad_input(graph, case):
    damage, message = BAD[case]
    damage(graph)
    with pytest.raises(BadInput, match=message) as caught:
        check_lang(read_lang_folder(graph))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_lang_folder_of_neither_form_names_both(tmp_path):
    with pytest.raises(BadInput, match=r"units.txt is missing: .* or HCLG.fst, words.txt and"):
        read_lang_folder(tmp_path)


def test_graph_is_checked_again_when_it_is_built(tmp_path, graph):
    with_arc(NUM_IDS + 1, 1)(graph)
    with pytest.raises(BadInput, match="not a transition-id"):
        built(graph, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["words.txt", "transitions.txt"])
def test_tables_may_have_byte_order_mark_crlf_tabs_and_blank_lines(tmp_path, graph, name):
    wanted = built(graph, tmp_path / "wanted")
    text = (graph / name).read_text().replace("\n", "\r\n") + "\r\n"
    text = text.replace(" ", "\t") if name == "words.txt" else text
    (graph / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    found = built(graph, tmp_path / "found")
    for path in wanted.iterdir():
        assert (found / path.name).read_bytes() == path.read_bytes()


def test_words_may_be_in_any_order(tmp_path, graph):
    lines = (graph / "words.txt").read_text().splitlines(keepends=True)
    wanted = built(graph, tmp_path / "wanted")
    (graph / "words.txt").write_text("".join(reversed(lines)))
    assert read_words(built(graph, tmp_path / "found")) == read_words(wanted)


def test_transitions_may_have_self_loop_pdfs_and_counts(tmp_path):
    path = tmp_path / "transitions.txt"
    texts = [show_transitions(UNITS, with_counts=counts) for counts in (False, True)]
    found = []
    for text in texts:
        path.write_text(text)
        found.append(read_transitions(path))
    assert found[0] == found[1]
    assert found[0].pdfs[:6] == (0, 0, 1, 1, 2, 2)
    assert found[0].pdfs[-4:] == (5, 4, 0, 5)  # the self loop has the next pdf
    path.write_text(
        "Transition-state 1: phone = 4 hmm-state = 2 forward-pdf = 0 self-loop-pdf = 51\n"
        " Transition-id = 1 p = 0.5 [self-loop]\n Transition-id = 2 p = 1e-05 [2 -> 3]\n"
    )
    assert read_transitions(path).pdfs == (51, 0)
    assert read_transitions(path).largest_pdf == 51


# use of the graph


def test_word_cost_is_added_to_every_word(tmp_path, graph):
    out = built(graph, tmp_path / "out")
    plain, dear = read_graph(out), read_graph(out, word_cost=2.5)
    num_words = 0
    for state in range(plain.num_states):
        pairs = zip(
            kaldifst.ArcIterator(plain, state), kaldifst.ArcIterator(dear, state), strict=True
        )
        for before, after in pairs:
            assert (before.ilabel, before.olabel, before.nextstate) == (
                after.ilabel,
                after.olabel,
                after.nextstate,
            )
            wanted = np.float32(before.weight.value + 2.5 * (before.olabel != 0))
            assert after.weight.value == wanted
            num_words += before.olabel != 0
    assert num_words


def test_memory_holds_at_most_three_graphs(tmp_path, graph):
    shelf = GraphShelf(built(graph, tmp_path / "out"))
    kept = shelf.with_penalty(0.0)
    for penalty in (1.0, 2.0):
        shelf.with_penalty(penalty)
    assert shelf.with_penalty(0.0) is kept
    shelf.with_penalty(3.0)
    assert shelf.with_penalty(0.0) is not kept
    assert len(shelf._graphs) == 3


def settings_for(data, **features):
    return CorpusSettings(source="kaldi", path=data, features={"subsample": 1, **features})


def test_corpus_with_a_graph_of_kaldi_differs_in_its_lang_only(tmp_path):
    data = make_kaldi_directory(tmp_path / "data")
    for name in ("lexicon", "kaldi"):
        (tmp_path / name).mkdir()
        progress = SilentProgress()
        build_corpus(settings_for(data), directory=tmp_path / name, progress=progress)
        if name == "lexicon":
            swap_lang(data)
    for name in ("train/text", "dev/ali.ark"):
        assert (data / name).is_file()
    assert (tmp_path / "kaldi" / "summary.json").read_bytes() == (
        tmp_path / "lexicon" / "summary.json"
    ).read_bytes()
    lang = tmp_path / "kaldi" / "lang"
    assert {path.name for path in lang.iterdir()} == {
        "HCLG.fst",
        "words.txt",
        "transitions.txt",
        "num_pdfs",
    }
    assert read_lang_folder(lang) == read_lang_folder(data / "lang")


def test_corpus_is_not_written_if_the_graph_is_bad(tmp_path):
    data = swap_lang(make_kaldi_directory(tmp_path / "data"))
    with_arc(1, 9)(data / "lang")
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match="output label 9"):
        build_corpus(settings_for(data), directory=tmp_path / "out", progress=SilentProgress())
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("name", ["HCLG.fst", "words.txt", "transitions.txt"])
def test_fingerprint_changes_with_any_file(tmp_path, name):
    data = swap_lang(make_kaldi_directory(tmp_path / "data"))
    before = source_fingerprint(settings_for(data))
    content = bytearray((data / "lang" / name).read_bytes())
    content[len(content) // 2] ^= 1
    (data / "lang" / name).write_bytes(content)
    assert source_fingerprint(settings_for(data)) != before
    (data / "lang" / name).unlink()
    with pytest.raises(BadInput, match=f"{name} is missing"):
        source_fingerprint(settings_for(data))


def test_fingerprint_does_not_read_a_large_graph_whole(tmp_path):
    data = swap_lang(make_kaldi_directory(tmp_path / "data"))
    with (data / "lang" / "HCLG.fst").open("r+b") as file:
        file.truncate(1 << 40)  # a sparse file of a terabyte
    assert len(source_fingerprint(settings_for(data))) == 64


def test_word_that_words_txt_lacks_is_named(tmp_path):
    data = swap_lang(make_kaldi_directory(tmp_path / "data"))
    path = data / "test" / "text"
    path.write_text(path.read_text().replace("BA", "<s>"))
    with pytest.raises(BadInput, match=r"\(<s>\): rebuild the graph and lang/words.txt with"):
        build_corpus(settings_for(data), directory=tmp_path, progress=SilentProgress())


def test_words_txt_of_another_language_is_refused(tmp_path):
    data = swap_lang(make_kaldi_directory(tmp_path / "data"))
    edit("lang/words.txt", lambda text: re.sub(r"^([A-Z]+) ", r"\1Q ", text, flags=re.M))(data)
    settings = CorpusSettings(source="kaldi", path=data, kaldi={"unknown_words": "keep"})
    with pytest.raises(BadInput, match=r"lang/words.txt has none of the words of the transcripts"):
        build_corpus(settings, directory=tmp_path, progress=SilentProgress())


def test_summary_warns_of_states_that_subsampling_skips(tmp_path):
    data = make_kaldi_directory(tmp_path / "data")  # a state is visited for 2 to 4 frames
    said = {}
    for subsample in (1, 2, 3):
        out = tmp_path / str(subsample)
        out.mkdir()
        summary = build_corpus(
            settings_for(data, subsample=subsample), directory=out, progress=SilentProgress()
        )
        lines = [line for line in summary_lines(summary) if "are skipped" in line]
        said[subsample] = (summary.splits[0].lost_visits, summary.splits[2].lost_visits, len(lines))
    assert said[1] == said[2] == (0, 0, 0)
    lost, lost_of_test, num_lines = said[3]
    assert 0.02 < lost < 0.3  # visits of 2 frames between two sampled frames
    assert (lost_of_test, num_lines) == (0, 2)  # test has no alignment


def corpus_notes(data, out):
    out.mkdir()
    notes = Notes()
    build_corpus(settings_for(data), directory=out, progress=notes)
    return [note for note in notes.notes if "different trees" in note]


class Notes(SilentProgress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_summary_warns_of_an_alignment_of_another_tree(tmp_path):
    data = swap_lang(make_kaldi_directory(tmp_path / "data"), chain=False)
    assert corpus_notes(data, tmp_path / "fitting") == []
    labels = {id: np.array(labels_T) for id, labels_T in kaldiio.load_ark(f"{data}/dev/ali.ark")}
    other = np.random.default_rng(1).permutation(NUM_PDFS).astype(np.int32)
    write_archive(data / "dev", "ali", {id: other[labels_T] for id, labels_T in labels.items()})
    (note,) = corpus_notes(data, tmp_path / "other")
    assert re.match(r"dev: [1-8]?\d% of the changes of pdf in the alignment are", note)


STEPS = """Transition-state 1: phone = A hmm-state = 0 pdf = 0
 Transition-id = 1 p = 0.5 [self-loop]
 Transition-id = 2 p = 0.25 [0 -> 1]
 Transition-id = 3 p = 0.25 [0 -> 2]
Transition-state 2: phone = A hmm-state = 1 pdf = 1
 Transition-id = 4 p = 0.5 [self-loop]
 Transition-id = 5 p = 0.5 [1 -> 2]
Transition-state 3: phone = A hmm-state = 2 pdf = 2
 Transition-id = 6 p = 0.5 [self-loop]
 Transition-id = 7 p = 0.5 [2 -> 3]
Transition-state 4: phone = B hmm-state = 0 forward-pdf = 3 self-loop-pdf = 4
 Transition-id = 8 p = 0.5 [self-loop]
 Transition-id = 9 p = 0.5 [0 -> 1]
"""


@pytest.mark.parametrize(
    ("labels", "fitting"),
    [
        ([0, 0, 1, 1, 2, 0, 1, 2], 5),
        ([0, 2, 3, 4, 4, 3, 0], 5),  # a skip, and staying before or after leaving
        ([3, 3, 3], 0),
        ([1, 0], 0),
        ([2, 1, 2, 2], 1),  # a phone begins with its first state
        ([0, 3], 0),
        ([4, 0, 1, 4], 2),
        ([], 0),
    ],
)
def test_steps_of_an_alignment_are_those_of_the_hmms(tmp_path, labels, fitting):
    (tmp_path / "transitions.txt").write_text(STEPS)
    steps = HmmSteps(read_transitions(tmp_path / "transitions.txt"), num_classes=5)
    assert steps.share == 1
    steps.count(np.array(labels, np.int32))
    changes = sum(one != two for one, two in pairwise(labels))
    assert (steps.num_fitting, steps.num_steps) == (fitting, changes)


def test_steps_to_a_self_loop_pdf_are_allowed_in_any_state(tmp_path):
    (tmp_path / "transitions.txt").write_text(
        "Transition-state 1: phone = A hmm-state = 0 pdf = 0\n"
        " Transition-id = 1 p = 0.5 [self-loop]\n Transition-id = 2 p = 0.5 [0 -> 1]\n"
        "Transition-state 2: phone = A hmm-state = 1 forward-pdf = 1 self-loop-pdf = 2\n"
        " Transition-id = 3 p = 0.5 [self-loop]\n Transition-id = 4 p = 0.5 [1 -> 2]\n"
    )
    steps = HmmSteps(read_transitions(tmp_path / "transitions.txt"), num_classes=3)
    steps.count(np.array([0, 1, 2, 2, 0, 2, 1, 0], np.int32))
    assert (steps.num_fitting, steps.num_steps) == (6, 6)


def test_steps_of_a_topology_of_many_states_are_not_counted(tmp_path):
    text = STEPS.replace("phone = B hmm-state = 0", "phone = B hmm-state = 63")
    (tmp_path / "transitions.txt").write_text(text)
    steps = HmmSteps(read_transitions(tmp_path / "transitions.txt"), num_classes=5)
    steps.count(np.array([1, 0], np.int32))
    assert steps.share == 1


def test_fst_file_begins_with_the_magic_number(graph):
    assert struct.unpack_from("<i", (graph / "HCLG.fst").read_bytes()) == (MAGIC,)


@pytest.mark.an4
@pytest.mark.skipif(AN4 is None, reason="the AN4 data directory is not here")
def test_an4_graph_of_kaldi_has_the_path_scores_of_its_lexicon(tmp_path):
    """Kaldi's graph has more states: HMM states that share a pdf are told apart there."""
    data = an4_with_kaldi_graph(tmp_path / "data")
    kaldi = built(data / "lang", tmp_path / "kaldi")
    (tmp_path / "lexicon").mkdir()
    build_graph(read_lang(AN4 / "lang"), tmp_path / "lexicon")
    graphs = [read_fst(path / "HLG.fst") for path in (kaldi, tmp_path / "lexicon")]
    assert len(graphs[0].final_S) > len(graphs[1].final_S)
    rng = np.random.default_rng(8)
    for num_frames in (60, 101):
        loglike_TC = 2 * rng.normal(size=(num_frames, 329))
        found, wanted = (best_cost(graph, loglike_TC) for graph in graphs)
        assert np.isfinite(wanted)
        assert found == pytest.approx(wanted, abs=1e-3)
    assert read_words(kaldi) == read_words(tmp_path / "lexicon")


@pytest.mark.an4
@pytest.mark.skipif(AN4 is None, reason="the AN4 data directory is not here")
def test_an4_alignments_are_paths_of_its_hmms(tmp_path):
    data = an4_with_kaldi_graph(tmp_path / "data", chain=False)
    transitions = read_kaldi_graph(data / "lang").transitions
    fitting, other = (HmmSteps(transitions, num_classes=329) for _ in range(2))
    shuffled = np.random.default_rng(1).permutation(329).astype(np.int32)
    for _, labels_T in kaldiio.load_ark(str(AN4 / "dev" / "ali.ark")):
        fitting.count(labels_T)
        other.count(shuffled[labels_T])
    assert fitting.num_steps > 5000
    assert fitting.share == 1
    assert other.share < 0.6
