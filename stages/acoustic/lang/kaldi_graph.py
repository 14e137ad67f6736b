"""KaldiGraph: a decoding graph made by Kaldi as a lang: any context, topology and lexicon.

    HCLG.fst         output of utils/mkgraph.sh: const or vector, input labels are transition-ids
    words.txt        its output labels
    transitions.txt  output of `show-transitions phones.txt final.mdl`: transition-id -> pdf;
                     or the final.mdl itself, wherever it lies, and phones.txt next to HCLG.fst

The graph for decoding has input labels p + 1 for pdf p, and Kaldi's costs, output labels and order
of arcs.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.acoustic.kaldi.text_file import read_text
from stages.acoustic.lang.grammar import symbol_table
from stages.acoustic.lang.graph import EPSILON
from stages.acoustic.lang.graph_files import (
    GRAPH_FILE,
    HCLG_FILE,
    KALDI_FILES,
    PHONES_FILE,
    TRANSITIONS_FILE,
    WANTED_GRAPH,
    WORDS_FILE,
)
from stages.acoustic.lang.hmm_topology import find_misfit
from stages.acoustic.lang.lang import RESERVED, read_num_classes
from stages.acoustic.lang.openfst_file import Arcs, FstArrays, encode_const, read_fst
from stages.acoustic.lang.transition_model import read_transition_model
from stages.acoustic.lang.transitions import Transitions, read_transitions, transitions_text
from stages.contract.errors import BadInput
from storage.files.fingerprint import fingerprint
from storage.files.publish import publish_copy, publish_file, publish_pieces

_NUMBER = re.compile(r"\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class KaldiGraph:
    """A directory whose tables have been checked; `check_graph` checks the graph."""

    directory: Path = field(compare=False)
    symbols: tuple[str, ...]  # by number
    transitions: Transitions
    num_classes: int
    model: Path | None = field(default=None, compare=False)  # the final.mdl of the transitions

    @property
    def words(self) -> tuple[str, ...]:
        """The words of words.txt, without special symbols."""
        return tuple(symbol for symbol in self.symbols if symbol not in RESERVED)

    @property
    def class_inventory(self) -> str:
        """Digest of the meaning of class 0, 1, 2 ...: the HMM states of each pdf."""
        states = [
            [state.phone, state.hmm_state, state.forward_pdf, state.loop_pdf]
            for state in self.transitions.states
        ]
        return fingerprint({"num_classes": self.num_classes, "states": states})


def read_kaldi_graph(directory: Path, *, model: Path | None = None) -> KaldiGraph:
    """Read and check the tables. `num_pdfs`, if it exists, must contain the number of classes.

    `model` is the final.mdl whose transitions are read; None: those of transitions.txt.

    Raises:
        BadInput: naming file and line.
    """
    refuse_missing_files(directory, model=model)
    transitions = _read_transitions(directory, model)
    num_classes = read_num_classes(directory, largest_pdf=transitions.largest_pdf)
    if transitions.largest_pdf >= num_classes:
        raise BadInput(
            f"{model or directory / TRANSITIONS_FILE}: found pdf {transitions.largest_pdf}, but "
            f"num_pdfs is {num_classes}: are both of one model?"
        )
    return KaldiGraph(
        directory=directory,
        symbols=_read_symbols(directory / WORDS_FILE),
        transitions=transitions,
        num_classes=num_classes,
        model=model,
    )


def _read_transitions(directory: Path, model: Path | None) -> Transitions:
    if model is None:
        return read_transitions(directory / TRANSITIONS_FILE)
    phones = directory / PHONES_FILE
    found = read_transition_model(model, phones=phones if phones.is_file() else None)
    return found.transitions


def refuse_missing_files(directory: Path, *, model: Path | None = None) -> None:
    """Check that all files exist; with a `model`, transitions.txt is not needed.

    Raises:
        BadInput: naming the first that is missing.
    """
    for name in (HCLG_FILE, WORDS_FILE) if model else KALDI_FILES:
        if not (directory / name).is_file():
            raise BadInput(f"{directory / name} is missing: {WANTED_GRAPH}")


def check_graph(graph: KaldiGraph) -> None:
    """Read and check HCLG.fst, so that it does not fail after the training.

    Raises:
        BadInput: if it is damaged, or does not fit words.txt and transitions.txt.
    """
    _read_checked(graph)


def write_kaldi_graph(graph: KaldiGraph, directory: Path) -> None:
    """Copy a graph to a directory that `read_kaldi_graph` reads.

    Not a link: a later overwrite of HCLG.fst in the user's directory must not change the corpus.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in (HCLG_FILE, WORDS_FILE) if graph.model else KALDI_FILES:
        publish_copy(graph.directory / name, directory / name)
    if graph.model:  # its weights may be large, and its transitions are all that is needed
        publish_file(directory / TRANSITIONS_FILE, transitions_text(graph.transitions).encode())
    publish_file(directory / "num_pdfs", f"{graph.num_classes}\n".encode())


def build_from_kaldi(graph: KaldiGraph, directory: Path) -> None:
    """Write the graph for decoding, and words.txt. The same files give the same bytes.

    Raises:
        BadInput: if it is damaged, or does not fit words.txt and transitions.txt.
    """
    fst, labels = _read_checked(graph), _input_labels(graph)

    def relabel(arcs: Arcs) -> Arcs:
        relabelled = arcs.copy()
        relabelled["input"] = labels[arcs["input"]]
        return relabelled

    table = symbol_table({symbol: number for number, symbol in enumerate(graph.symbols)})
    publish_file(directory / WORDS_FILE, table.encode())
    publish_pieces(directory / GRAPH_FILE, encode_const(fst, change=relabel))


def _input_labels(graph: KaldiGraph) -> NDArray[np.int32]:
    """pdf + 1, indexed by transition-id."""
    return np.array([EPSILON, *(pdf + 1 for pdf in graph.transitions.pdfs)], np.int32)


def _read_checked(graph: KaldiGraph) -> FstArrays:
    path = graph.directory / HCLG_FILE
    fst = read_fst(path)
    num_ids, num_symbols = len(graph.transitions.pdfs), len(graph.symbols)
    for start, arcs in fst.chunks():
        for side, count, holder, meaning in (
            ("input", num_ids + 1, _transitions_from(graph), "transition-id"),
            ("output", num_symbols, WORDS_FILE, "word"),
        ):
            wrong = (arcs[side] < 0) | (arcs[side] >= count)
            if wrong.any():
                at = int(np.argmax(wrong))
                raise BadInput(
                    f"{path}: arc {start + at} has the {side} label {int(arcs[side][at])}, which "
                    f"is not a {meaning} of {holder} (1 to {count - 1}): are both of one model?"
                )
    if misfit := find_misfit(fst, graph.transitions):
        raise BadInput(
            f"{path}: {misfit}: its labels do not follow the HMMs of {_transitions_from(graph)}: "
            "take both from one model (its final.mdl, and the graph that was made with it)"
        )
    return fst


def _transitions_from(graph: KaldiGraph) -> str:
    return graph.model.name if graph.model else TRANSITIONS_FILE


def _read_symbols(path: Path) -> tuple[str, ...]:
    """The symbols of words.txt by number. The lines may be in any order."""
    by_number: dict[int, str] = {}
    seen: set[str] = set()
    for number, line in enumerate(read_text(path, wanted=WANTED_GRAPH).split("\n"), start=1):
        fields = re.split(r"[ \t]+", line.strip(" \t"))  # words may contain other kinds of space
        if fields == [""]:
            continue
        if len(fields) != 2 or not _NUMBER.fullmatch(fields[1]):
            raise BadInput(f"{path}:{number}: wanted 'WORD number', found {line[:60]!r}")
        if int(fields[1]) in by_number:
            raise BadInput(f"{path}:{number}: number {fields[1]} occurs twice")
        if fields[0] in seen:
            raise BadInput(f"{path}:{number}: {fields[0]!r} occurs twice")
        by_number[int(fields[1])] = fields[0]
        seen.add(fields[0])
    missing = next((n for n in range(len(by_number)) if n not in by_number), None)
    if missing is not None or not by_number:
        raise BadInput(
            f"{path} has no symbol with the number {missing or 0}: wanted 0, 1, 2 ... without "
            "gaps, as Kaldi writes them"
        )
    symbols = tuple(by_number[n] for n in range(len(by_number)))
    if symbols[EPSILON] != "<eps>" or len(symbols) == 1:
        raise BadInput(f"{path}: wanted '<eps> 0' and the words, found {symbols[EPSILON]!r} as 0")
    return symbols
