"""The work of a decoding process: log-likelihoods of one utterance -> best path, word numbers.

It imports no torch: a process starts in a fraction of a second and in little memory. OpenFst's
objects cannot be pickled, so each process reads the graph file itself.

Shapes: T frames, C classes.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np

from stages.acoustic.lang.beam_search import BestPath, SearchLimits, decode_matrix
from stages.acoustic.lang.graph import read_graph
from stages.contract.child_process import end_with_parent
from stages.evaluate.tune import Point

MAX_GRAPHS = 3  # in memory: one for each insertion penalty in use


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeJob:
    """Rows [first_frame, first_frame + num_frames) of a file of log-likelihoods (T, C)."""

    path: Path
    first_frame: int
    num_frames: int
    point: Point
    limits: SearchLimits


class GraphShelf:
    """The graph, once for each insertion penalty in use. A large graph takes a gigabyte."""

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
    """Prepare this process to decode with the graph of a directory."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to the parent, too
    end_with_parent()
    _shelf[:] = [GraphShelf(graph_directory)]


def decode(job: DecodeJob) -> BestPath:
    """Decode one utterance with the graph of this process."""
    loglike_TC = np.load(job.path, mmap_mode="r")
    rows_TC = loglike_TC[job.first_frame : job.first_frame + job.num_frames]
    graph = _shelf[0].with_penalty(job.point.insertion_penalty)
    scaled_TC = rows_TC * np.float32(job.point.acoustic_scale)
    return decode_matrix(graph, scaled_TC, limits=job.limits)
