"""What a decoding process does: log-likelihoods of one utterance -> word numbers.

It imports no torch: a process starts in a fraction of a second and in little memory. OpenFst's
objects do not travel between processes, so that each one reads the graph file itself.

Shapes: T frames, C classes.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

import kaldi_decoder
import kaldifst
import numpy as np
from numpy.typing import NDArray

from stages.acoustic.lang.graph import read_graph
from stages.evaluate.tune import Point

MAX_GRAPHS = 3  # in memory: one for each insertion penalty in use


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeJob:
    """Rows [first_frame, first_frame + num_frames) of a file of log-likelihoods (T, C)."""

    path: Path
    first_frame: int
    num_frames: int
    point: Point
    beam: float
    max_active: int


@dataclass(frozen=True, slots=True)
class Heard:
    """The words of the best path, and whether it ends where a sentence may end."""

    words: tuple[int, ...]
    reached_final: bool


class GraphShelf:
    """The graph, with the insertion penalties in use added to every word. One may take a GB."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._graphs: dict[float, kaldifst.StdConstFst] = {}

    def with_penalty(self, penalty: float) -> kaldifst.StdConstFst:
        """The graph in which every word costs `penalty` more."""
        if penalty not in self._graphs:
            while len(self._graphs) >= MAX_GRAPHS:
                del self._graphs[next(iter(self._graphs))]  # the oldest
            self._graphs[penalty] = read_graph(self._directory, word_cost=penalty)
        return self._graphs[penalty]


_shelf: list[GraphShelf] = []  # one, filled when the process starts


def start(graph_directory: Path) -> None:
    """Read the graph: what a process does once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _shelf[:] = [GraphShelf(graph_directory)]


def decode(job: DecodeJob) -> Heard:
    """Decode one utterance with the graph of this process."""
    loglike_TC = np.load(job.path, mmap_mode="r")
    rows_TC = loglike_TC[job.first_frame : job.first_frame + job.num_frames]
    graph = _shelf[0].with_penalty(job.point.insertion_penalty)
    scaled_TC = rows_TC * np.float32(job.point.acoustic_scale)
    return decode_matrix(graph, scaled_TC, beam=job.beam, max_active=job.max_active)


def decode_matrix(
    graph: kaldifst.StdConstFst, scaled_TC: NDArray[np.float32], *, beam: float, max_active: int
) -> Heard:
    """Viterbi beam search. Where no final state is reached, the best partial path is taken."""
    if not len(scaled_TC):
        return Heard((), reached_final=True)
    options = kaldi_decoder.FasterDecoderOptions(beam=beam, max_active=max_active)
    # The decoder keeps neither graph nor matrix alive: both need a name until it is done.
    loglike_TC = np.ascontiguousarray(scaled_TC, dtype=np.float32)
    decodable = kaldi_decoder.DecodableCtc(loglike_TC)
    decoder = kaldi_decoder.FasterDecoder(graph, options)
    decoder.decode(decodable)
    found, path = decoder.get_best_path()
    if not found:
        return Heard((), reached_final=False)
    _, _, words, _ = kaldifst.get_linear_symbol_sequence(path)
    return Heard(tuple(words), reached_final=decoder.reached_final())
