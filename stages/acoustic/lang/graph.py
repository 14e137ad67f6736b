"""lang -> decoding graph: HLG.fst, from pdfs to words, and words.txt.

    G   words of the language model              grammar.py
    L   units to words, optional SIL             lexicon_fst.py
    H   pdfs to units, states left to right      topology_fst
    HLG = loops(H o min(det(L o G)))

Input label p + 1 is pdf p, as in kaldi_decoder's DecodableCtc; output labels are the numbers of
words.txt. Staying in a state and leaving it cost ln 2 each, as in a Kaldi topology with probability
0.5: a constant per frame, equal for all paths.
"""

import math
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import kaldifst
import numpy as np

from stages.acoustic.lang.grammar import BACKOFF, compile_grammar, symbol_table
from stages.acoustic.lang.graph_files import GRAPH_FILE, WORDS_FILE
from stages.acoustic.lang.lang import Lang
from stages.acoustic.lang.lexicon_fst import LexiconSymbols, lexicon_fst
from stages.acoustic.lang.openfst_file import Arcs, encode_const, read_fst
from stages.acoustic.lang.token_lang import TokenLang
from stages.contract.errors import BadInput
from storage.files.leftovers import scratch_folder
from storage.files.publish import publish_file

EPSILON = 0
STEP_COST = math.log(2)  # nats: of staying in a state, and of leaving it


def build_graph(lang: Lang, directory: Path) -> None:
    """Write HLG.fst and words.txt into `directory`. The same lang gives the same bytes.

    Raises:
        BadInput: if the language model is damaged or has no word of the lexicon.
    """
    words = number_words(lang)
    grammar = checked_grammar(lang)
    symbols = LexiconSymbols.of(lang, words)
    lexicon_grammar = kaldifst.compose(lexicon_fst(lang, symbols), grammar)
    kaldifst.determinize_star(lexicon_grammar)
    kaldifst.minimize_encoded(lexicon_grammar)
    kaldifst.arcsort(lexicon_grammar, "ilabel")
    graph = add_self_loops(kaldifst.compose(topology_fst(lang, symbols), lexicon_grammar))
    write_graph(graph, words, directory)


def write_graph(graph: kaldifst.StdVectorFst, words: dict[str, int], directory: Path) -> None:
    """Write HLG.fst and words.txt.

    Raises:
        BadInput: if the graph cannot be written.
    """
    with scratch_folder(directory / "graph") as folder:
        unpublished = folder / GRAPH_FILE
        if not kaldifst.StdConstFst(graph).write(os.fspath(unpublished)):
            raise BadInput(f"{directory}: the decoding graph cannot be written: is the disk full?")
        publish_file(directory / WORDS_FILE, symbol_table(words).encode())
        publish_file(directory / GRAPH_FILE, unpublished.read_bytes())


def checked_grammar(lang: Lang | TokenLang) -> kaldifst.StdVectorFst:
    """The grammar over the numbers of `number_words`.

    Raises:
        BadInput: if the language model is damaged or has no word of the lexicon.
    """
    words = number_words(lang)
    grammar = compile_grammar(lang.arpa, words)
    spoken = {words[word] for word in lang.words}
    if not any(arc.olabel in spoken for arc in _arcs(grammar)):
        raise BadInput("lm.arpa has no word of lexicon.txt: are both of one system?")
    return grammar


def number_words(lang: Lang | TokenLang) -> dict[str, int]:
    """Numbers of words.txt: <eps> 0, the words from 1, then the symbols of the grammar."""
    return {
        symbol: number
        for number, symbol in enumerate(["<eps>", *lang.words, BACKOFF, "<s>", "</s>"])
    }


def read_words(directory: Path) -> list[str]:
    """The symbols of words.txt in a graph's directory, by number.

    Raises:
        BadInput: if the table is missing or damaged.
    """
    path = directory / WORDS_FILE
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as cause:
        raise BadInput(f"{path} cannot be read ({cause}): remove {directory}") from cause
    pairs = [line.rpartition(" ") for line in lines if line]
    if (
        [number for _, _, number in pairs] != [str(n) for n in range(len(pairs))]
        or lines[-1]
        or not pairs
    ):
        raise BadInput(f"{path} is damaged: wanted words numbered from 0: remove {directory}")
    return [word for word, _, _ in pairs]


def read_graph(directory: Path, *, word_cost: float = 0.0) -> kaldifst.StdConstFst:
    """Read the decoding graph of a directory, with `word_cost` added to every word.

    Raises:
        BadInput: if the file is missing or damaged.
    """
    path = directory / GRAPH_FILE
    if word_cost:
        return _read_pieces(encode_const(read_fst(path), change=partial(_add, cost=word_cost)))
    graph = kaldifst.StdConstFst.read(os.fspath(path))
    if graph is None:
        raise BadInput(f"{path} is missing or damaged: remove {directory}; it is made again")
    return graph


def _add(arcs: Arcs, *, cost: float) -> Arcs:
    raised = arcs.copy()
    raised["cost"] = np.where(arcs["output"], arcs["cost"].astype(np.float64) + cost, arcs["cost"])
    return raised


def _read_pieces(pieces: Iterable[bytes]) -> kaldifst.StdConstFst:
    """The graph of a const file in memory. The bindings read only files: it is given as one."""
    with os.fdopen(os.memfd_create("essence-graph"), "wb") as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        return kaldifst.StdConstFst.read(f"/proc/self/fd/{file.fileno()}")


def topology_fst(lang: Lang, symbols: LexiconSymbols) -> kaldifst.StdVectorFst:
    """H without self loops: the pdfs of each unit in sequence, from state 0 back to state 0."""
    fst = kaldifst.StdVectorFst()
    fst.start = fst.add_state()
    fst.set_final(0, 0.0)
    for unit, pdfs in lang.units.items():
        state, output = 0, symbols.units[unit]
        for position, pdf in enumerate(pdfs):
            target = 0 if position == len(pdfs) - 1 else fst.add_state()
            fst.add_arc(state, kaldifst.StdArc(pdf + 1, output, 0.0, target))
            state, output = target, EPSILON
    for number in symbols.disambiguation:
        fst.add_arc(0, kaldifst.StdArc(EPSILON, number, 0.0, 0))
    kaldifst.arcsort(fst, "olabel")
    return fst


def add_self_loops(fst: kaldifst.StdVectorFst) -> kaldifst.StdVectorFst:
    """A copy with a self loop on every state, of the input label that enters the state.

    A state that several labels enter is split into one copy per label, since the loop of a label
    must not follow another label.
    """
    looped = kaldifst.StdVectorFst()
    looped.start = looped.add_state()
    copies = {(fst.start, EPSILON): looped.start}
    to_visit = [(fst.start, EPSILON)]
    while to_visit:
        state, label = to_visit.pop()
        source = copies[state, label]
        looped.set_final(source, fst.final(state))
        if label != EPSILON:
            looped.add_arc(source, kaldifst.StdArc(label, EPSILON, STEP_COST, source))
        for arc in kaldifst.ArcIterator(fst, state):
            target = (arc.nextstate, arc.ilabel)
            if target not in copies:
                copies[target] = looped.add_state()
                to_visit.append(target)
            cost = arc.weight.value + (STEP_COST if arc.ilabel != EPSILON else 0.0)
            looped.add_arc(source, kaldifst.StdArc(arc.ilabel, arc.olabel, cost, copies[target]))
    return looped


def _arcs(fst: kaldifst.StdVectorFst) -> Iterator[kaldifst.StdArc]:
    for state in range(fst.num_states):
        yield from kaldifst.ArcIterator(fst, state)
