"""Makers of Kaldi's own decoding graph, out of a lexicon's: the same paths in transition-ids.

OpenFst itself (kaldifst) writes the files, so that they are no mirror of our own encoder.
"""

import gzip
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import kaldifst
import kaldiio

from stages.acoustic.lang.graph import build_graph, read_graph
from stages.acoustic.lang.lang import Lang, read_lang
from stages.acoustic.lang.transitions import Transitions, read_transitions
from tests.support.makers.kaldi import AN4
from tests.support.makers.kaldi_model import Hmm, Model, write_final_mdl

FstType = Literal["const", "vector"]
Units = dict[str, tuple[int, ...]]
CONTEXTS = ("", "_E")


@dataclass(frozen=True)
class TransitionState:
    """A state of a phone; `loop_pdf` is of staying in it."""

    phone: str
    state: int
    forward_pdf: int
    loop_pdf: int


def transition_states(units: Units, *, chain: bool) -> list[TransitionState]:
    """Every state of every unit, in two contexts; with `chain`, states whose two pdfs differ."""
    states = [
        TransitionState(f"{unit}{context}", number, pdf, pdf)
        for context in CONTEXTS
        for unit, pdfs in units.items()
        for number, pdf in enumerate(pdfs)
    ]
    num_pdfs = 1 + max(state.forward_pdf for state in states)
    if chain:
        states += [TransitionState(f"Q{n}", 0, n, (n + 1) % num_pdfs) for n in range(num_pdfs)]
    return states


def show_transitions(units: Units, *, chain: bool = True, with_counts: bool = False) -> str:
    """What Kaldi's program of that name prints of them."""
    count = " count of pdf = 12.5" if with_counts else ""
    lines = []
    for n, state in enumerate(transition_states(units, chain=chain)):
        pdfs = f"pdf = {state.forward_pdf}"
        if state.forward_pdf != state.loop_pdf:
            pdfs = f"forward-pdf = {state.forward_pdf} self-loop-pdf = {state.loop_pdf}"
        lines += [
            f"Transition-state {n + 1}: phone = {state.phone} hmm-state = {state.state} {pdfs}",
            f" Transition-id = {2 * n + 1} p = 0.75{count} [self-loop]",
            f" Transition-id = {2 * n + 2} p = 2.5e-01{count} [{state.state} -> {state.state + 1}]",
        ]
    return "".join(f"{line}\n" for line in lines)


def make_kaldi_graph(
    directory: Path, lang: Path, *, type: FstType = "const", chain: bool = True
) -> Path:
    """HCLG.fst, words.txt and transitions.txt of the lexicon, units and ARPA in `lang`."""
    directory.mkdir(parents=True, exist_ok=True)
    read = read_lang(lang)
    with TemporaryDirectory() as folder:
        build_graph(with_a_class_for_each_state(read), Path(folder))
        graph = kaldifst.StdVectorFst(read_graph(Path(folder)))
        (directory / "words.txt").write_bytes((Path(folder) / "words.txt").read_bytes())
    write_fst(directory / "HCLG.fst", in_transition_ids(graph, read.units), type=type)
    (directory / "transitions.txt").write_text(show_transitions(read.units, chain=chain))
    return directory


def write_fst(path: Path, fst: kaldifst.StdVectorFst, *, type: FstType) -> None:
    """As OpenFst writes it."""
    assert (fst if type == "vector" else kaldifst.StdConstFst(fst)).write(os.fspath(path))


def with_a_class_for_each_state(lang: Lang) -> Lang:
    """The lang with a pdf for each state of each unit, numbered in the order of the units.

    States that share a pdf are told apart in the graph, as Kaldi does.
    """
    units: Units = {}
    for unit, pdfs in lang.units.items():
        first = sum(map(len, units.values()))
        units[unit] = tuple(range(first, first + len(pdfs)))
    return replace(lang, units=units, num_classes=sum(map(len, units.values())))


def in_transition_ids(graph: kaldifst.StdVectorFst, units: Units) -> kaldifst.StdVectorFst:
    """A copy, a state's label changed to its forward transition, and to its self-loop to stay.

    The order is Kaldi's: a state is entered by the transition that leaves it. Every other unit
    stands in the second context.
    """
    num_states = sum(map(len, units.values()))
    places = [  # of each state of a unit in the states of `transition_states`
        place + num_states * (number % len(CONTEXTS))
        for number, (unit, first) in enumerate(zip(units, _firsts(units), strict=True))
        for place in range(first, first + len(units[unit]))
    ]
    changed = graph.copy()
    for state in range(graph.num_states):
        changed.delete_arcs(state, graph.num_arcs(state))
        for arc in kaldifst.ArcIterator(graph, state):
            label = arc.ilabel
            if label:
                label = 2 * places[label - 1] + (1 if arc.nextstate == state else 2)
            weight = arc.weight.value
            changed.add_arc(state, kaldifst.StdArc(label, arc.olabel, weight, arc.nextstate))
    return changed


def _firsts(units: Units) -> list[int]:
    lengths = [len(pdfs) for pdfs in units.values()]
    return [sum(lengths[:number]) for number in range(len(lengths))]


def swap_lang(data: Path, *, type: FstType = "const", chain: bool = True) -> Path:
    """Put Kaldi's graph in the place of a data directory's lexicon, units and ARPA."""
    lang = data / "lang"
    (lang / "num_pdfs").write_bytes((data / "num_pdfs").read_bytes())
    make_kaldi_graph(data / "swapped", lang, type=type, chain=chain)
    (lang / "num_pdfs").unlink()
    for name in ("lexicon.txt", "units.txt", "lm.arpa"):
        (lang / name).unlink()
    for path in (data / "swapped").iterdir():
        path.rename(lang / path.name)
    (data / "swapped").rmdir()
    return data


def an4_with_kaldi_graph(directory: Path, *, chain: bool = True) -> Path:
    """AN4's folders, and its lang as Kaldi's graph."""
    assert AN4 is not None
    directory.mkdir()
    for name in ("train", "dev", "test", "num_pdfs"):
        (directory / name).symlink_to(AN4 / name)
    make_kaldi_graph(directory / "lang", AN4 / "lang", chain=chain)
    return directory


def as_kaldi_experiment(data: Path) -> Path:
    """The directory of `swap_lang` as Kaldi leaves an experiment; no program of it has to be run.

    train, dev, test: feats.scp, text, utt2spk. exp/final.mdl, exp/graph/, exp/ali_train/ali.1.gz,
    exp/ali_dev/ali.1.gz: transition-ids.
    """
    exp, graph = data / "exp", data / "exp" / "graph"
    exp.mkdir()
    (data / "lang").rename(graph)
    (data / "num_pdfs").rename(graph / "num_pdfs")
    transitions = read_transitions(graph / "transitions.txt")
    (graph / "transitions.txt").unlink()
    phones = list(dict.fromkeys(state.phone for state in transitions.states))
    symbols = ["<eps>", *phones, "#0"]
    (graph / "phones.txt").write_text("".join(f"{s} {n}\n" for n, s in enumerate(symbols)))
    write_final_mdl(exp / "final.mdl", _model_of(transitions, phones), binary=True)
    for split in ("train", "dev"):
        folder = exp / f"ali_{split}"
        folder.mkdir()
        with gzip.open(folder / "ali.1.gz", "wb") as file:
            for id, pdfs_T in kaldiio.load_ark(str(data / split / "ali.ark")):
                labels_T = [transitions.pdfs.index(pdf) + 1 for pdf in pdfs_T]
                file.write(f"{id} {' '.join(map(str, labels_T))} \n".encode())
        for name in ("ali.scp", "ali.ark"):
            (data / split / name).unlink()
    return data


def _model_of(transitions: Transitions, phones: list[str]) -> Model:
    """Left-to-right HMMs with a self-loop at each state, as `show_transitions` prints them."""
    hmms: dict[int, Hmm] = {}
    tuples = []
    for state in transitions.states:
        phone = phones.index(state.phone) + 1
        at = state.hmm_state
        hmms.setdefault(phone, []).append((at, at, [(at, 0.75), (at + 1, 0.25)]))
        tuples.append([phone, state.hmm_state, state.forward_pdf, state.loop_pdf])
    for hmm in hmms.values():
        hmm.append((-1, -1, []))  # the end emits nothing
    log_probs = [0.0, *(math.log(0.75), math.log(0.25)) * len(tuples)]
    return Model(hmms, tuples, log_probs, is_hmm=False)
