"""TranscriptGraph: the part of a decoding graph that spells one transcript.

    graph o words  ->  trimmed  ->  epsilon arcs removed  ->  arrays

Both forms of a lang end as one graph from classes (input label c + 1) to words (graph.py,
kaldi_graph.py), so one construction serves both: all pronunciations and optional silences of the
transcript are kept, with the costs that the decoder sees.

Shapes: S states, A arcs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import kaldifst
import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.graph import read_graph, read_words


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptGraph:
    """A graph in which every arc takes one frame. Arcs are sorted by the state that they enter.

    `class_A` is the class that an arc emits, `cost_A` its cost in nats, `final_S` the cost of
    ending in a state (infinite: not possible). The start is state 0.
    """

    source_A: NDArray[np.int64]
    target_A: NDArray[np.int64]
    class_A: NDArray[np.int64]
    cost_A: NDArray[np.float64]
    final_S: NDArray[np.float64]

    @property
    def num_states(self) -> int:
        """Number of states."""
        return len(self.final_S)


@dataclass(frozen=True, slots=True)
class TranscriptGraphs:
    """Makes the graph of any transcript from one decoding graph, which it holds in memory."""

    graph: kaldifst.StdVectorFst
    numbers: Mapping[str, int]  # word -> output label

    @classmethod
    def read(cls, directory: Path) -> Self:
        """Read the decoding graph of a directory.

        Raises:
            BadInput: where a file is missing or damaged.
        """
        words = read_words(directory)
        graph = kaldifst.StdVectorFst(read_graph(directory))
        # Composition looks up each word among the output labels of a state.
        kaldifst.arcsort(graph, "olabel")
        return cls(graph, {word: number for number, word in enumerate(words)})

    def unknown_words(self, words: Sequence[str]) -> list[str]:
        """The words of a transcript that the graph lacks, in order."""
        return [word for word in words if word not in self.numbers]

    def of(self, words: Sequence[str]) -> TranscriptGraph | None:
        """The graph of a transcript; None where a word is unknown or no path spells it."""
        if self.unknown_words(words):
            return None
        acceptor = kaldifst.make_linear_acceptor([self.numbers[word] for word in words])
        spelled = kaldifst.compose(self.graph, acceptor)
        kaldifst.connect(spelled)
        if spelled.num_states == 0:
            return None
        # An arc is removed only where both labels are epsilon: the words must go first.
        spelled = _project_inputs(spelled)
        kaldifst.rmepsilon(spelled)
        return _as_arrays(spelled)


def _project_inputs(fst: kaldifst.StdVectorFst) -> kaldifst.StdVectorFst:
    """A copy whose output labels are its input labels."""
    projected = kaldifst.StdVectorFst()
    for _ in range(fst.num_states):
        projected.add_state()
    projected.start = fst.start
    for state in range(fst.num_states):
        projected.set_final(state, fst.final(state))
        for arc in kaldifst.ArcIterator(fst, state):
            same = kaldifst.StdArc(arc.ilabel, arc.ilabel, arc.weight.value, arc.nextstate)
            projected.add_arc(state, same)
    return projected


def _arcs(fst: kaldifst.StdVectorFst) -> Iterator[tuple[int, int, int, float]]:
    for state in range(fst.num_states):
        for arc in kaldifst.ArcIterator(fst, state):
            yield state, arc.nextstate, arc.ilabel - 1, arc.weight.value


def _as_arrays(fst: kaldifst.StdVectorFst) -> TranscriptGraph:
    renumbered = [fst.start, *(s for s in range(fst.num_states) if s != fst.start)]
    number_of = np.empty(fst.num_states, np.int64)
    number_of[renumbered] = np.arange(fst.num_states)
    columns = np.array(list(_arcs(fst)), dtype=np.float64).reshape(-1, 4)
    source_A, target_A = (number_of[columns[:, n].astype(np.int64)] for n in (0, 1))
    order_A = np.argsort(target_A, kind="stable")
    return TranscriptGraph(
        source_A=source_A[order_A],
        target_A=target_A[order_A],
        class_A=columns[order_A, 2].astype(np.int64),
        cost_A=columns[order_A, 3],
        final_S=np.array([_final_cost(fst, state) for state in renumbered]),
    )


def _final_cost(fst: kaldifst.StdVectorFst, state: int) -> float:
    return float(fst.final(state).value)
