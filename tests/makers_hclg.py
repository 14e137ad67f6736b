"""Makers of Kaldi's own decoding graph, out of ours: the same paths, said in transition-ids.

OpenFst itself (kaldifst) writes the files, so that they are no mirror of our own encoder.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import kaldifst
from makers_kaldi import AN4

from stages.speech.graph import build_graph, read_graph
from stages.speech.lang import read_lang

FstType = Literal["const", "vector"]
CONTEXTS = 3  # transition-states that share a pdf, as different phones and contexts do


def make_kaldi_graph(directory: Path, lang: Path, *, type: FstType = "const") -> Path:
    """HCLG.fst, words.txt and transitions.txt of the lexicon, units and ARPA in `lang`."""
    directory.mkdir(parents=True, exist_ok=True)
    read = read_lang(lang)
    with TemporaryDirectory() as folder:
        build_graph(read, Path(folder))
        graph = kaldifst.StdVectorFst(read_graph(Path(folder)))
        (directory / "words.txt").write_bytes((Path(folder) / "words.txt").read_bytes())
    said = in_transition_ids(graph, num_pdfs=read.num_classes)
    write_fst(directory / "HCLG.fst", said, type=type)
    (directory / "transitions.txt").write_text(show_transitions(read.num_classes))
    return directory


def write_fst(path: Path, fst: kaldifst.StdVectorFst, *, type: FstType) -> None:
    """As OpenFst writes it."""
    assert (fst if type == "vector" else kaldifst.StdConstFst(fst)).write(os.fspath(path))


def in_transition_ids(graph: kaldifst.StdVectorFst, *, num_pdfs: int) -> kaldifst.StdVectorFst:
    """A copy in which a self loop has a self-loop id of its pdf, any other arc a forward one."""
    said = graph.copy()
    for state in range(graph.num_states):
        said.delete_arcs(state, graph.num_arcs(state))
        for arc in kaldifst.ArcIterator(graph, state):
            label = arc.ilabel
            if label:
                is_loop = arc.nextstate == state
                context = (state + arc.nextstate) % CONTEXTS
                label = transition_id(label - 1, is_loop, context, num_pdfs=num_pdfs)
            said.add_arc(state, kaldifst.StdArc(label, arc.olabel, arc.weight.value, arc.nextstate))
    return said


def transition_id(pdf: int, is_loop: bool, context: int, *, num_pdfs: int) -> int:
    """The id that `show_transitions` gives it. In context 2 staying has the next pdf, as in chain
    models; elsewhere the same."""
    if context == 2 and is_loop:
        pdf = (pdf - 1) % num_pdfs
    return 2 * (CONTEXTS * pdf + context) + (1 if is_loop else 2)


def show_transitions(num_pdfs: int, *, with_counts: bool = False) -> str:
    """What Kaldi prints for `CONTEXTS` transition-states a pdf."""
    lines = []
    count = " count of pdf = 12.5" if with_counts else ""
    for pdf in range(num_pdfs):
        for context in range(CONTEXTS):
            state = CONTEXTS * pdf + context
            pdfs = f"pdf = {pdf}"
            if context == 2:
                pdfs = f"forward-pdf = {pdf} self-loop-pdf = {(pdf + 1) % num_pdfs}"
            lines += [
                f"Transition-state {state + 1}: phone = P{pdf}_{context} hmm-state = 0 {pdfs}",
                f" Transition-id = {2 * state + 1} p = 0.75{count} [self-loop]",
                f" Transition-id = {2 * state + 2} p = 2.5e-01{count} [0 -> 1]",
            ]
    return "".join(f"{line}\n" for line in lines)


def swap_lang(data: Path, *, type: FstType = "const") -> Path:
    """Put Kaldi's graph in the place of a data directory's lexicon, units and ARPA."""
    lang = data / "lang"
    (lang / "num_pdfs").write_bytes((data / "num_pdfs").read_bytes())
    make_kaldi_graph(data / "swapped", lang, type=type)
    (lang / "num_pdfs").unlink()
    for name in ("lexicon.txt", "units.txt", "lm.arpa"):
        (lang / name).unlink()
    for path in (data / "swapped").iterdir():
        path.rename(lang / path.name)
    (data / "swapped").rmdir()
    return data


def an4_with_kaldi_graph(directory: Path) -> Path:
    """AN4's folders, and its lang as Kaldi's graph."""
    assert AN4 is not None
    directory.mkdir()
    for name in ("train", "dev", "test", "num_pdfs"):
        (directory / name).symlink_to(AN4 / name)
    make_kaldi_graph(directory / "lang", AN4 / "lang")
    return directory
