"""lang of tokens -> decoding graph: HLG.fst, from classes to words, and words.txt.

    G    words of the language model           grammar.py
    L    tokens to words                       token_lexicon_fst
    HLG  = min(det(L o G)), each token of it as CTC has it: one frame or more, blanks around it

Input label c + 1 is class c. There is no transducer H to compose with: each state of L o G is
expanded into one copy for each token that enters it, and one after a blank (Miao et al. 2015 has
the topology; a composition gives the same states). Frames cost nothing, as in CTC itself.

    (q, a)  --a-->  (q, a)         a goes on
    (q, a)  --blank-->  (q, blank), which has a loop of blanks
    (q, a)  --b-->  (r, b)         for an arc q --b--> r: from (q, a) only if b is not a
"""

from pathlib import Path

import kaldifst

from stages.acoustic.lang.grammar import BACKOFF
from stages.acoustic.lang.graph import checked_grammar, number_words, write_graph
from stages.acoustic.lang.lexicon_fst import disambiguate
from stages.acoustic.lang.token_lang import TokenLang
from stages.contract.ctc import BLANK

EPSILON = 0
BLANK_LABEL = BLANK + 1


def build_ctc_graph(lang: TokenLang, directory: Path) -> None:
    """Write HLG.fst and words.txt into `directory`. The same lang gives the same bytes.

    Raises:
        BadInput: if the language model is damaged or has no word of the lexicon.
    """
    words = number_words(lang)
    lexicon_grammar = kaldifst.compose(token_lexicon_fst(lang, words), checked_grammar(lang))
    kaldifst.determinize_star(lexicon_grammar)
    kaldifst.minimize_encoded(lexicon_grammar)
    graph = with_ctc_topology(lexicon_grammar, num_classes=lang.num_classes)
    write_graph(graph, words, directory)


def token_lexicon_fst(lang: TokenLang, words: dict[str, int]) -> kaldifst.StdVectorFst:
    """L, sorted by output label: class + 1 of each token, then symbols #0, #1, ... above them.

    #0 passes the back-off of G; the others part words whose spelling another one begins with.
    """
    number_of = {token: number + 1 for number, token in enumerate(lang.tokens)}
    backoff = lang.num_classes + 1
    fst = kaldifst.StdVectorFst()
    fst.start = fst.add_state()
    fst.set_final(0, 0.0)
    fst.add_arc(0, kaldifst.StdArc(backoff, words[BACKOFF], 0.0, 0))
    for entry, number in zip(lang.lexicon, disambiguate(lang.lexicon), strict=True):
        labels = [number_of[token] for token in entry.units]
        labels += [backoff + number] if number else []
        state, output = 0, words[entry.word]
        for label in labels[:-1]:
            target = fst.add_state()
            fst.add_arc(state, kaldifst.StdArc(label, output, 0.0, target))
            state, output = target, EPSILON
        fst.add_arc(state, kaldifst.StdArc(labels[-1], output, 0.0, 0))
    kaldifst.arcsort(fst, "olabel")
    return fst


def with_ctc_topology(fst: kaldifst.StdVectorFst, *, num_classes: int) -> kaldifst.StdVectorFst:
    """The graph over frames. Labels above `num_classes` are passed without a frame."""
    expanded = kaldifst.StdVectorFst()
    expanded.start = expanded.add_state()
    copies: dict[tuple[int, int], int] = {(fst.start, BLANK_LABEL): expanded.start}
    to_visit = [(fst.start, BLANK_LABEL)]

    def copy_of(state: int, label: int) -> int:
        if (state, label) not in copies:
            copies[state, label] = expanded.add_state()
            to_visit.append((state, label))
        return copies[state, label]

    while to_visit:
        state, last = to_visit.pop()
        source = copies[state, last]
        expanded.set_final(source, fst.final(state))
        expanded.add_arc(source, kaldifst.StdArc(last, EPSILON, 0.0, source))
        if last != BLANK_LABEL:
            target = copy_of(state, BLANK_LABEL)
            expanded.add_arc(source, kaldifst.StdArc(BLANK_LABEL, EPSILON, 0.0, target))
        for arc in kaldifst.ArcIterator(fst, state):
            is_passed = arc.ilabel == EPSILON or arc.ilabel > num_classes
            if not is_passed and arc.ilabel == last:
                continue  # a repeat needs a blank
            label, entered = (EPSILON, last) if is_passed else (arc.ilabel, arc.ilabel)
            target = copy_of(arc.nextstate, entered)
            added = kaldifst.StdArc(label, arc.olabel, arc.weight.value, target)
            expanded.add_arc(source, added)
    return expanded
